#!/usr/bin/env python3
"""A DINO step of a ContextViT: Cohort beside the method's published training loop written with stock PyTorch and timm modules.

Same sizes, same number of views (2 of 96², 8 of 32²), same images a step, one thread each, AdamW, gradients clipped by parameter. Cohort
runs whole, `cohort train` on images of cohort-data synth with the views of camelyon_dino made beside the step by one more thread; the peer
has its views in memory. The programs take turns, round after round, so that a change of the machine's load meets them all.

    .deps/python/bin/python perf/compare_dino.py --rounds 3
"""
import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"vit_tiny": (192, 12, 3), "vit_small": (384, 12, 6), "vit_base": (768, 12, 12)}  # width, depth, heads
LARGE, SMALL, LARGE_VIEWS, SMALL_VIEWS, PATCH = 96, 32, 2, 8, 8
SKIPPED = 2  # steps of a run that are not measured


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each program runs")
    parser.add_argument("--steps", type=int, default=4, help=f"steps measured in a run, after {SKIPPED} that are not")
    parser.add_argument("--model", default="vit_small", choices=SIZES)
    parser.add_argument("--images", type=int, default=8, help="images a step, of one context")
    parser.add_argument("--prototypes", type=int, default=65536)
    parser.add_argument("--programs", type=Path, default=ROOT / "build/release/bin", help="folder of cohort and cohort-data")
    parser.add_argument("--json", type=Path, help="write all measurements to this file")
    parser.add_argument("--worker", choices=["fp32", "bf16"], help=argparse.SUPPRESS)
    return parser.parse_args()


def context_vit(options):
    """cls, one context token (linear map of the mean over all patches of the group), patches; positions interpolated for small views."""
    import torch
    from timm.models.vision_transformer import Block
    from torch import nn

    width, depth, heads = SIZES[options.model]

    class ContextViT(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, width, PATCH, PATCH)
            self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02)
            self.positions = nn.Parameter(torch.randn(1, 2 + (LARGE // PATCH) ** 2, width) * 0.02)
            self.context = nn.Linear(width, width)
            self.blocks = nn.ModuleList(Block(width, heads, qkv_bias=True) for _ in range(depth))
            self.norm = nn.LayerNorm(width, eps=1e-6)

        def forward(self, images):
            grid = self.patches(images)
            tokens = grid.flatten(2).transpose(1, 2)
            context = self.context(tokens.mean((0, 1))).expand(len(images), 1, -1)
            table, side = self.positions[:, 2:], LARGE // PATCH
            if grid.shape[-1] != side:
                table = nn.functional.interpolate(table.reshape(1, side, side, -1).permute(0, 3, 1, 2), size=grid.shape[-2:], mode="bicubic")
                table = table.flatten(2).transpose(1, 2)
            tokens = torch.cat([self.cls.expand(len(images), -1, -1), context, tokens], 1) + torch.cat([self.positions[:, :2], table], 1)
            for block in self.blocks:
                tokens = block(tokens)
            return self.norm(tokens)[:, 0]

    return ContextViT(), width


def head(width, options):
    import torch
    from torch import nn

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.mlp = nn.Sequential(nn.Linear(width, 2048), nn.GELU(), nn.Linear(2048, 2048), nn.GELU(), nn.Linear(2048, 256))
            self.last = nn.utils.weight_norm(nn.Linear(256, options.prototypes, bias=False))
            self.last.weight_g.data.fill_(1)
            self.last.weight_g.requires_grad = False

        def forward(self, features):
            return self.last(nn.functional.normalize(self.mlp(features), dim=-1))

    return Head()


def worker(options):
    import warnings

    import torch

    warnings.filterwarnings("ignore", message=".*weight_norm.*")
    torch.set_num_threads(1)
    torch.manual_seed(1)
    backbone, width = context_vit(options)
    student = torch.nn.ModuleDict({"backbone": backbone, "head": head(width, options)})
    teacher = torch.nn.ModuleDict({"backbone": context_vit(options)[0], "head": head(width, options)})
    teacher.load_state_dict(copy.deepcopy(student.state_dict()))
    teacher.requires_grad_(False)
    trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW([{"params": [p for p in trained if p.ndim > 1]}, {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0}],
                                  lr=1e-4, weight_decay=0.04, fused=True)
    large = torch.randn(LARGE_VIEWS * options.images, 3, LARGE, LARGE)
    small = torch.randn(SMALL_VIEWS * options.images, 3, SMALL, SMALL)
    centre = torch.zeros(1, options.prototypes)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=options.worker == "bf16"):
            with torch.no_grad():
                taught = teacher["head"](teacher["backbone"](large))
            learnt = student["head"](torch.cat([student["backbone"](large), student["backbone"](small)]))
        targets = torch.softmax((taught.float() - centre) / 0.04, -1).chunk(LARGE_VIEWS)
        answers = [torch.log_softmax(answer, -1) for answer in (learnt.float() / 0.1).chunk(LARGE_VIEWS + SMALL_VIEWS)]
        pairs = [-(target * answer).sum(-1).mean() for i, target in enumerate(targets) for j, answer in enumerate(answers) if i != j]
        optimizer.zero_grad(set_to_none=True)
        (sum(pairs) / len(pairs)).backward()
        for parameter in trained:
            coefficient = 3.0 / (parameter.grad.norm(2) + 1e-6)
            if coefficient < 1:
                parameter.grad.mul_(coefficient)
        optimizer.step()
        with torch.no_grad():
            for mine, theirs in zip(student.parameters(), teacher.parameters()):
                theirs.mul_(0.996).add_(mine, alpha=0.004)
            centre.mul_(0.9).add_(taught.float().mean(0, keepdim=True), alpha=0.1)

    seconds = []
    for i in range(options.steps + SKIPPED):
        begin = time.perf_counter()
        step()
        if i >= SKIPPED:
            seconds.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": statistics.median(seconds)}))


def run_torch(precision):
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    done = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--worker", precision], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"the peer failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])["seconds"]


def run_cohort(precision, folder, options):
    run = folder / "run"
    command = [options.programs / "cohort", "train", folder / "dino.yaml", f"run_dir={run}", f"precision={precision}", "--overwrite"]
    done = subprocess.run(command, env=dict(os.environ, OMP_NUM_THREADS="1"), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"cohort failed:\n{done.stderr}")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return statistics.median([line["seconds"] for line in lines if line["kind"] == "step"][SKIPPED:])


def prepare(folder, options):
    subprocess.run([options.programs / "cohort-data", "synth", "--contexts", "2", "--images-per-context", str(options.images * (options.steps + SKIPPED)),
                    "--size", str(LARGE), "--out", str(folder / "data")], check=True, capture_output=True)
    (folder / "dino.yaml").write_text(f"""
method: dino
data: {{path: {folder / "data"}, normalisation: imagenet}}
model: {{name: {options.model}, patch_size: {PATCH}}}
context: {{keys: [context], amortization: mean_linear}}
augment: {{preset: camelyon_dino}}
sampler: {{groups_per_step: 1, images_per_group: {options.images}}}
dino: {{prototypes: {options.prototypes}, freeze_last_layer: 0}}
optimizer: {{lr: 1e-4, weight_decay: 0.04, clip_norm: 3, clip: parameter}}
train: {{max_steps: {options.steps + SKIPPED}}}
""")


def main():
    options = parse()
    if options.worker:
        return worker(options)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder, options)
        programs = {f"{name} {precision}": (lambda p=precision, r=run: r(p)) for precision in ("fp32", "bf16")
                    for name, run in (("Cohort", lambda p: run_cohort(p, folder, options)), ("PyTorch", run_torch))}
        samples = {name: [] for name in programs}
        for number in range(options.rounds):
            for name, run in programs.items():
                samples[name].append(run())
                print(f"# round {number + 1}/{options.rounds}: {name} {samples[name][-1]:.3f} s a step", file=sys.stderr)
    print(f"DINO, ContextViT {options.model}/{PATCH}, {options.images} images a step in {LARGE_VIEWS} views of {LARGE}² and {SMALL_VIEWS} of {SMALL}², "
          f"{options.prototypes} prototypes, 1 thread; {options.rounds} rounds in turns")
    print(f"{'':14}{'s a step':>10}{'images/s':>10}{'of PyTorch':>12}{'of its fp32':>13}")
    for name in programs:
        seconds = statistics.median(samples[name])
        line = f"{name:14}{seconds:10.3f}{options.images / seconds:10.2f}"
        if name.startswith("Cohort"):
            for peer in (name.replace("Cohort", "PyTorch"), "PyTorch fp32"):
                line += f"{statistics.median(theirs / ours for ours, theirs in zip(samples[name], samples[peer])):11.2f}x"
        print(line)
    if options.json:
        measured = {key: value for key, value in vars(options).items() if key not in ("programs", "json", "worker")}  # no paths of this machine
        options.json.write_text(json.dumps({"options": measured, "samples": samples}, indent=1) + "\n")


if __name__ == "__main__":
    main()
