#!/usr/bin/env python3
"""Steps of a vision transformer as a PyTorch script would write them, on one device: stock modules, autocast, fused AdamW, views in memory.

Started by run.py, which reads the JSON line that this prints. Needs nothing but PyTorch.
"""
import argparse
import copy
import json
import statistics
import time

import torch
from torch import nn

SIZES = {"vit_tiny": (192, 12, 3), "vit_small": (384, 12, 6), "vit_base": (768, 12, 12), "vit_large": (1024, 24, 16)}  # width, depth, heads


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens):
        images, count, width = tokens.shape
        query, key, value = self.qkv(tokens).reshape(images, count, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(images, count, width))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens):
        tokens = tokens + self.attention(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class VisionTransformer(nn.Module):
    """Logits of cls, or features without classes; positions interpolated for smaller images."""

    def __init__(self, size, patch, image, classes=0):
        super().__init__()
        self.width, depth, heads = SIZES[size]
        self.side = image // patch
        self.patches = nn.Conv2d(3, self.width, patch, patch)
        self.cls = nn.Parameter(torch.randn(1, 1, self.width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, 1 + self.side ** 2, self.width) * 0.02)
        self.blocks = nn.Sequential(*[Block(self.width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(self.width, eps=1e-6)
        self.head = nn.Linear(self.width, classes) if classes else nn.Identity()

    def forward(self, images):
        grid = self.patches(images)
        table = self.positions[:, 1:]
        if grid.shape[-1] != self.side:
            table = table.reshape(1, self.side, self.side, -1).permute(0, 3, 1, 2)
            table = nn.functional.interpolate(table, size=grid.shape[-2:], mode="bicubic").flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(len(images), -1, -1), grid.flatten(2).transpose(1, 2)], 1) + torch.cat([self.positions[:, :1], table], 1)
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class Head(nn.Module):
    def __init__(self, width, prototypes):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, 2048), nn.GELU(), nn.Linear(2048, 2048), nn.GELU(), nn.Linear(2048, 256))
        self.last = nn.utils.parametrizations.weight_norm(nn.Linear(256, prototypes, bias=False))
        self.last.parametrizations.weight.original0.requires_grad = False

    def forward(self, features):
        return self.last(nn.functional.normalize(self.mlp(features), dim=-1))


def optimizer_of(module):
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [{"params": [p for p in trained if p.ndim > 1]}, {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0}]
    return trained, torch.optim.AdamW(groups, lr=1e-4, weight_decay=0.04, fused=True)


def supervised(options, device):
    model = VisionTransformer(options.model, options.patch, options.image, 2).to(device)
    trained, optimizer = optimizer_of(model)
    run = torch.compile(model) if options.compiled else model
    images = torch.randn(options.images, 3, options.image, options.image, device=device)
    labels = torch.arange(options.images, device=device) % 2

    def step():
        with torch.autocast(device.type, torch.bfloat16):
            logits = run(images)
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(logits.float(), labels).backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()

    return step


def dino(options, device):
    def network():
        return nn.ModuleDict({"backbone": VisionTransformer(options.model, options.patch, options.image),
                              "head": Head(SIZES[options.model][0], options.prototypes)}).to(device)

    student, teacher = network(), network()
    teacher.load_state_dict(copy.deepcopy(student.state_dict()))
    teacher.requires_grad_(False)
    trained, optimizer = optimizer_of(student)
    large = torch.randn(2 * options.images, 3, options.image, options.image, device=device)
    small = torch.randn(8 * options.images, 3, options.small, options.small, device=device)
    centre = torch.zeros(1, options.prototypes, device=device)

    def step():
        with torch.autocast(device.type, torch.bfloat16):
            with torch.no_grad():
                taught = teacher["head"](teacher["backbone"](large))
            learnt = student["head"](torch.cat([student["backbone"](large), student["backbone"](small)]))
        targets = torch.softmax((taught.float() - centre) / 0.04, -1).chunk(2)
        answers = [torch.log_softmax(answer, -1) for answer in (learnt.float() / 0.1).chunk(10)]
        pairs = [-(target * answer).sum(-1).mean() for i, target in enumerate(targets) for j, answer in enumerate(answers) if i != j]
        optimizer.zero_grad(set_to_none=True)
        (sum(pairs) / len(pairs)).backward()
        for parameter in trained:  # as the published loop does
            coefficient = 3.0 / (parameter.grad.norm(2) + 1e-6)
            if coefficient < 1:
                parameter.grad.mul_(coefficient)
        optimizer.step()
        with torch.no_grad():
            for mine, theirs in zip(student.parameters(), teacher.parameters()):
                theirs.mul_(0.996).add_(mine, alpha=0.004)
            centre.mul_(0.9).add_(taught.float().mean(0, keepdim=True), alpha=0.1)

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=["supervised", "dino"])
    parser.add_argument("--model", default="vit_small", choices=SIZES)
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--image", type=int, default=224)
    parser.add_argument("--small", type=int, default=96, help="side of the eight small views")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--prototypes", type=int, default=65536)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--compiled", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(1)
    device = torch.device(options.device)
    step = (supervised if options.method == "supervised" else dino)(options, device)
    synchronise = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    seconds = []
    for i in range(options.warmup + options.steps):
        begin = time.perf_counter()
        step()
        synchronise()
        if i >= options.warmup:
            seconds.append(time.perf_counter() - begin)
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else None
    print(json.dumps({"seconds": statistics.median(seconds), "device_memory_bytes": peak, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
