#!/usr/bin/env python3
"""Training steps of Cohort beside PyTorch's DDP and FSDP2 (gloo), on CPUs, in one run: a ViT, and a ContextViT of stock modules.

Same sizes, same images a rank, same ranks, one thread a rank, AdamW, gradients clipped at norm 1. The ViT is that of timm, ours runs on images in memory
(cohort-perf engine); the ContextViT is models.py's, ours trains by the code of cohort train on a dataset with one group a rank (cohort-perf step).

    .deps/python/bin/python perf/peers/training.py --ranks 2 --rounds 5
"""
import json
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

import common


def parse():
    parser = common.parser(__doc__)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4, help="steps measured in a run, after one that is not")
    parser.add_argument("--model", default="vit_small", choices=["vit_tiny", "vit_small", "vit_base", "vit_large"])
    parser.add_argument("--patch", type=int, default=8)
    parser.add_argument("--image", type=int, default=96)
    parser.add_argument("--images", type=int, default=16, help="images a rank")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--models", nargs="+", default=["vit", "contextvit"], choices=["vit", "contextvit"])
    return parser.parse_args()


def sharded(model, ranks, options):
    import torch
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (ranks,))
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.bfloat16) if options.bf16 else MixedPrecisionPolicy()
    for block in model.blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    return fully_shard(model, mesh=mesh)


def worker(options):
    import torch
    import torch.distributed as dist

    import models

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(1)
    name, engine = options.worker.split()
    model = (models.vit if name == "vit" else models.ContextViT)(options.model, options.patch, options.image, 10)
    model = torch.nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True) if engine == "DDP" else sharded(model, ranks, options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05, fused=True)
    images = torch.randn(options.images, 3, options.image, options.image) + rank
    labels = torch.arange(options.images) % 10

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            logits = model(images)
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    seconds = []
    for i in range(options.steps + 1):
        dist.barrier()
        begin = time.perf_counter()
        step()
        slowest = torch.tensor([time.perf_counter() - begin])
        dist.all_reduce(slowest, dist.ReduceOp.MAX)
        if i > 0:
            seconds.append(slowest.item())
    peak = torch.tensor([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024])
    dist.all_reduce(peak, dist.ReduceOp.MAX)
    if rank == 0:
        print(json.dumps({"images_per_second": options.images * ranks / statistics.median(seconds), "peak_mib": peak.item()}), flush=True)
    dist.barrier()
    os._exit(0)  # FSDP2's processes were seen to abort in gloo's threads while the process group was taken down


def cohort_vit(strategy, options):
    arguments = ["engine", "--strategy", strategy, "--model", options.model, "--patch", options.patch, "--image", options.image, "--images",
                 options.images, "--steps", options.steps, *(["--bf16"] if options.bf16 else [])]
    row = common.cohort_perf(options, arguments, options.ranks)[-1]
    return {"images_per_second": row["images_s_all"], "peak_mib": row["peak_MiB"]}


def cohort_contextvit(strategy, folder, options):
    config = folder / "contextvit.yaml"
    config.write_text(f"""
data: {{path: nowhere}}
model: {{name: {options.model}, patch_size: {options.patch}}}
context: {{keys: [context], amortization: mean_linear}}
sampler: {{groups_per_step: {options.ranks}, images_per_group: {options.images}}}
optimizer: {{lr: 1e-4, weight_decay: 0.05, clip_norm: 1}}
sharding: {{strategy: {strategy}}}
precision: {"bf16" if options.bf16 else "fp32"}
""")
    arguments = ["step", config, "--synthetic", f"{options.image}x{options.image}x3", "--dir", folder, "--steps", options.steps, "--warmup", 1, "--peak", 1]
    row = common.cohort_perf(options, arguments, options.ranks, "step summary")[-1]
    return {"images_per_second": row["rate_images_s"], "peak_mib": row["resident_MiB"]}


def main():
    options = parse()
    if options.worker:
        return worker(options)
    pairs = [("replicate", "DDP"), ("full", "FSDP2")]
    titles = {"vit": "ViT", "contextvit": "ContextViT"}
    with tempfile.TemporaryDirectory() as temporary:
        programs = {}
        for model in options.models:
            for strategy, engine in pairs:
                ours = cohort_vit if model == "vit" else lambda s, o: cohort_contextvit(s, Path(temporary), o)
                programs[f"{titles[model]}, Cohort {strategy}"] = lambda s=strategy, run=ours: run(s, options)
                programs[f"{titles[model]}, PyTorch {engine}"] = lambda m=model, e=engine: common.workers(f"{m} {e}", options.ranks)
        samples = common.in_turns(programs, options.rounds)
    lines = []
    for model in options.models:
        for strategy, engine in pairs:
            mine, peer = samples[f"{titles[model]}, Cohort {strategy}"], samples[f"{titles[model]}, PyTorch {engine}"]
            for name, runs in ((f"Cohort `{strategy}`", mine), (f"PyTorch {engine}, gloo", peer)):
                rate = statistics.median(run["images_per_second"] for run in runs)
                memory = statistics.median(run["peak_mib"] for run in runs)
                shares = ["", ""]
                if runs is mine:
                    shares = [f"{common.ratio([a[key] for a in mine], [b[key] for b in peer]):.2f} ×" for key in ("images_per_second", "peak_mib")]
                lines.append([titles[model], name, f"{rate:.2f}", shares[0], f"{memory:.0f}", shares[1]])
    what = (f"training steps, {options.model}/{options.patch}, {options.image}², {options.images} images on each of {options.ranks} ranks, 1 thread a rank, "
            f"{'bf16' if options.bf16 else 'fp32'}")
    common.finish(options, what, ["model", "", "images/s, all ranks", "of peer", "MiB a rank", "of peer"], lines, samples)


if __name__ == "__main__":
    main()
