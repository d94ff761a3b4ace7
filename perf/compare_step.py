#!/usr/bin/env python3
"""Training steps of a ContextViT in one process: Cohort beside PyTorch eager and torch.compile, in fp32 and bf16, on the CPU, in one run.

Same sizes, same number of images of one context, same threads; forward, backward, clipping at norm 1, AdamW. The peer is timm's blocks with the method's context token
(a linear map of the mean over all patches); its bf16 is torch.autocast, Cohort's bf16 is `precision=bf16
sharding.gather=bf16`: the blocks' matrices are cast once a step, as autocast does; weights, gradients and optimizer are fp32 in both. The programs take turns, round after round, so that a
change of the machine's load meets them all. `cpu` is the time of all threads in a step: with other programs on the machine it says more than the clock.

    .deps/python/bin/python perf/compare_step.py --rounds 5
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"vit_tiny": (192, 12, 3), "vit_small": (384, 12, 6), "vit_base": (768, 12, 12)}  # width, depth, heads
CLASSES, SKIPPED = 10, 2  # steps of a run that are not measured
PRECISIONS = ("fp32", "bf16")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each program runs")
    parser.add_argument("--steps", type=int, default=6, help=f"steps measured in a run, after {SKIPPED} that are not")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="vit_small", choices=SIZES)
    parser.add_argument("--patch", type=int, default=8)
    parser.add_argument("--image", type=int, default=96)
    parser.add_argument("--images", type=int, default=8, help="images a step, of one context")
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS)
    parser.add_argument("--peers", nargs="*", default=["eager", "compile"], choices=["eager", "compile"])
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/bin/cohort-perf")
    parser.add_argument("--json", type=Path, help="write all measurements to this file")
    parser.add_argument("--worker", nargs=2, metavar=("PEER", "PRECISION"), help=argparse.SUPPRESS)
    return parser.parse_args()


def context_vit(options):
    """Tokens: cls, one context token, patches."""
    import torch
    from timm.models.vision_transformer import Block
    from torch import nn

    width, depth, heads = SIZES[options.model]

    class ContextViT(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, width, options.patch, options.patch)
            self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02)
            self.positions = nn.Parameter(torch.randn(1, 2 + (options.image // options.patch) ** 2, width) * 0.02)
            self.context = nn.Linear(width, width)
            self.blocks = nn.ModuleList(Block(width, heads, qkv_bias=True) for _ in range(depth))
            self.norm = nn.LayerNorm(width, eps=1e-6)
            self.head = nn.Linear(width, CLASSES)

        def forward(self, images):
            tokens = self.patches(images).flatten(2).transpose(1, 2)
            context = self.context(tokens.mean((0, 1))).expand(len(images), 1, -1)
            tokens = torch.cat([self.cls.expand(len(images), -1, -1), context, tokens], 1) + self.positions
            for block in self.blocks:
                tokens = block(tokens)
            return self.head(self.norm(tokens)[:, 0])

    return ContextViT()


def worker(options):
    import torch

    peer, precision = options.worker
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    model = context_vit(options)
    run = torch.compile(model) if peer == "compile" else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05, fused=True)
    images = torch.randn(options.images, 3, options.image, options.image)
    labels = torch.arange(options.images) % CLASSES

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = run(images)
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    seconds, used = [], []
    for i in range(options.steps + SKIPPED):
        begin, spent = time.perf_counter(), time.process_time()
        step()
        if i >= SKIPPED:
            seconds.append(time.perf_counter() - begin)
            used.append(time.process_time() - spent)
    print(json.dumps({"seconds": statistics.median(seconds), "cpu": statistics.median(used),
                      "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def output_of(command, options):
    environment = dict(os.environ, OMP_NUM_THREADS=str(options.threads))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{done.stderr}")
    return json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])


def run_torch(peer, precision, options):
    return output_of([sys.executable, __file__, *sys.argv[1:], "--worker", peer, precision], options)


def run_cohort(precision, options):
    command = [str(options.program), "engine", "--context", "--model", options.model, "--patch", str(options.patch), "--image", str(options.image), "--images",
               str(options.images), "--steps", str(options.steps), "--json"]
    row = output_of(command + (["--bf16-compute"] if precision == "bf16" else []), options)
    return {"seconds": row["step_p50_ms"] / 1e3, "cpu": row["cpu_ms"] / 1e3, "peak_mib": row["peak_MiB"]}


def programs_of(options):
    programs = {}
    for precision in options.precisions:
        programs[f"Cohort {precision}"] = lambda precision=precision: run_cohort(precision, options)
        for peer in options.peers:
            programs[f"PyTorch {peer} {precision}"] = lambda peer=peer, precision=precision: run_torch(peer, precision, options)
    return programs


def print_table(samples, options):
    print(f"ContextViT {options.model}/{options.patch}, {options.image}², {options.images} images a step, {options.threads} threads; {options.rounds} rounds of "
          f"{options.steps} steps in turns; medians; ratios: of the rounds, median (lowest to highest)")
    print(f"{'':22}{'images/s':>10}{'ms a step':>11}{'cpu ms':>9}{'peak MiB':>10}   Cohort's speed over it, by the clock, and by cpu time")
    for name, runs in samples.items():
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        line = f"{name:22}{options.images / middle['seconds']:10.2f}{middle['seconds'] * 1e3:11.1f}{middle['cpu'] * 1e3:9.1f}{middle['peak_mib']:10.0f}"
        if not name.startswith("Cohort"):
            ours = samples[f"Cohort {name.split()[-1]}"]
            for key in ("seconds", "cpu"):
                ratios = sorted(theirs[key] / mine[key] for mine, theirs in zip(ours, runs))
                line += f"   {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(line)


def main():
    options = parse()
    if options.worker:
        return worker(options)
    programs = programs_of(options)
    samples = {name: [] for name in programs}
    for number in range(options.rounds):
        for name, run in programs.items():
            samples[name].append(run())
            print(f"# round {number + 1}/{options.rounds}: {name} {samples[name][-1]['seconds'] * 1e3:.0f} ms", file=sys.stderr)
    print_table(samples, options)
    if options.json:
        measured = {key: value for key, value in vars(options).items() if key not in ("program", "json", "worker")}  # no paths of this machine
        options.json.write_text(json.dumps({"options": measured, "samples": samples}, indent=1) + "\n")


if __name__ == "__main__":
    main()
