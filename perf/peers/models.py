"""Models as one writes them with stock modules of PyTorch and timm."""
import timm
import torch
from timm.models.vision_transformer import Block
from torch import nn

SIZES = {"vit_tiny": (192, 12, 3), "vit_small": (384, 12, 6), "vit_base": (768, 12, 12), "vit_large": (1024, 24, 16)}  # width, depth, heads


class ContextViT(nn.Module):
    """cls, one context token (linear map of the mean over all patches of the group, which is the batch), patches; positions interpolated
    for other sizes; a classifier on cls, or features without classes."""

    def __init__(self, size, patch, image, classes=0):
        super().__init__()
        self.width, depth, heads = SIZES[size]
        self.side = image // patch
        self.patches = nn.Conv2d(3, self.width, patch, patch)
        self.cls = nn.Parameter(torch.randn(1, 1, self.width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, 2 + self.side ** 2, self.width) * 0.02)
        self.context = nn.Linear(self.width, self.width)
        self.blocks = nn.ModuleList(Block(self.width, heads, qkv_bias=True) for _ in range(depth))
        self.norm = nn.LayerNorm(self.width, eps=1e-6)
        self.head = nn.Linear(self.width, classes) if classes else nn.Identity()

    def forward(self, images):
        grid = self.patches(images)
        tokens = grid.flatten(2).transpose(1, 2)
        context = self.context(tokens.mean((0, 1))).expand(len(images), 1, -1)
        table = self.positions[:, 2:]
        if grid.shape[-1] != self.side:
            table = nn.functional.interpolate(table.reshape(1, self.side, self.side, -1).permute(0, 3, 1, 2), size=grid.shape[-2:], mode="bicubic")
            table = table.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(len(images), -1, -1), context, tokens], 1) + torch.cat([self.positions[:, :2], table], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens)[:, 0])


def vit(size, patch, image, classes):
    return timm.create_model(f"{size}_patch16_224", img_size=image, patch_size=patch, num_classes=classes)
