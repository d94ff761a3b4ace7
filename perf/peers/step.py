#!/usr/bin/env python3
"""A supervised step of a ContextViT on one process: Cohort beside PyTorch eager and torch.compile, in fp32 and bf16.

Forward, backward, clipping and AdamW on images of one context that stay in memory; weights, gradients and optimizer are fp32 on all sides.

    .deps/python/bin/python perf/peers/step.py --rounds 5
"""
import json
import statistics
import time

import common

CLASSES, SKIPPED = 10, 2  # steps of a run that are not measured
PRECISIONS = ("fp32", "bf16")


def parse():
    parser = common.parser(__doc__)
    parser.add_argument("--steps", type=int, default=6, help=f"steps measured in a run, after {SKIPPED} that are not")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="vit_small", choices=["vit_tiny", "vit_small", "vit_base"])
    parser.add_argument("--patch", type=int, default=8)
    parser.add_argument("--image", type=int, default=96)
    parser.add_argument("--images", type=int, default=8, help="images a step, of one context")
    parser.add_argument("--peers", nargs="*", default=["eager", "compile"], choices=["eager", "compile"])
    return parser.parse_args()


def worker(options):
    import torch

    from models import ContextViT

    peer, precision = options.worker.split()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    model = ContextViT(options.model, options.patch, options.image, CLASSES)
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
    print(json.dumps({"seconds": statistics.median(seconds), "processor": statistics.median(used)}))


def run_cohort(precision, options):
    arguments = ["engine", "--context", "--model", options.model, "--patch", options.patch, "--image", options.image, "--images", options.images, "--steps",
                 options.steps, *(["--bf16-compute"] if precision == "bf16" else [])]
    row = common.cohort_perf(options, arguments, threads=options.threads)[-1]
    return {"seconds": row["step_p50_ms"] / 1e3, "processor": row["cpu_ms"] / 1e3}


def main():
    options = parse()
    if options.worker:
        return worker(options)
    programs = {}
    for precision in PRECISIONS:
        programs[f"Cohort {precision}"] = lambda p=precision: run_cohort(p, options)
        for peer in options.peers:
            programs[f"PyTorch {peer} {precision}"] = lambda p=precision, k=peer: common.workers(f"{k} {p}", 1, options.threads)
    samples = common.in_turns(programs, options.rounds)
    lines = []
    for name, runs in samples.items():
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        line = [name, f"{options.images / middle['seconds']:.1f}", f"{middle['seconds'] * 1e3:.0f}", f"{middle['processor'] * 1e3:.0f}", ""]
        if not name.startswith("Cohort"):
            ours = samples[f"Cohort {name.split()[-1]}"]
            ratios = sorted(theirs["seconds"] / mine["seconds"] for mine, theirs in zip(ours, runs))
            line[-1] = f"{statistics.median(ratios):.2f} × ({ratios[0]:.2f} – {ratios[-1]:.2f})"
        lines.append(line)
    common.finish(options, f"steps of ContextViT {options.model}/{options.patch}, {options.image}², {options.images} images, {options.threads} threads",
                  ["", "images/s", "ms a step", "processor ms", "Cohort over it"], lines, samples)


if __name__ == "__main__":
    main()
