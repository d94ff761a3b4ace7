#!/usr/bin/env python3
"""Training steps of Cohort's engine beside PyTorch's DDP and FSDP2, on CPUs, in one run.

Same model (a timm vision transformer and ours of the same sizes), same images a rank, same ranks, one thread a rank, AdamW, gradients clipped at norm 1.
The programs take turns, round after round, so that a change of the machine's load meets them all.

    .deps/python/bin/python perf/compare_fsdp.py --ranks 2 --rounds 5
"""
import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

SIZES = {"vit_tiny": "vit_tiny_patch16_224", "vit_small": "vit_small_patch16_224", "vit_base": "vit_base_patch16_224",
         "vit_large": "vit_large_patch16_224"}
TIMEOUT_SECONDS = 300  # for one run of one program
ROOT = Path(__file__).resolve().parent.parent


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="how often each program runs")
    parser.add_argument("--steps", type=int, default=4, help="steps measured in a run, after one that is not")
    parser.add_argument("--model", default="vit_small", choices=SIZES)
    parser.add_argument("--patch", type=int, default=8)
    parser.add_argument("--image", type=int, default=96)
    parser.add_argument("--images", type=int, default=16, help="images a rank")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/bin/cohort-perf")
    parser.add_argument("--json", type=Path, help="write all measurements to this file")
    parser.add_argument("--worker", choices=["ddp", "fsdp2"], help=argparse.SUPPRESS)
    return parser.parse_args()


def sharded(model, mesh, options):
    import torch
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.bfloat16) if options.bf16 else MixedPrecisionPolicy()
    for block in model.blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    return fully_shard(model, mesh=mesh)


def worker(options):
    import timm
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(1)
    model = timm.create_model(SIZES[options.model], img_size=options.image, patch_size=options.patch, num_classes=10)
    if options.worker == "ddp":
        model = torch.nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
    else:
        model = sharded(model, torch.distributed.device_mesh.init_device_mesh("cpu", (ranks,)), options)
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


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_torch(kind, options):
    environment = dict(os.environ, OMP_NUM_THREADS="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()), WORLD_SIZE=str(options.ranks))
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", kind]
    workers = [subprocess.Popen(command, env=dict(environment, RANK=str(rank)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
               for rank in range(options.ranks)]
    try:
        outputs = [process.communicate(timeout=TIMEOUT_SECONDS) for process in workers]
    except subprocess.TimeoutExpired:
        for process in workers:
            process.kill()
        sys.exit(f"{kind} did not end within {TIMEOUT_SECONDS} s: run it again, or with fewer steps")
    for process, (_, errors) in zip(workers, outputs):
        if process.returncode != 0:
            sys.exit(f"{kind} failed:\n{errors}")
    return json.loads(outputs[0][0].strip().splitlines()[-1])


def run_cohort(strategy, options):
    command = ["mpirun", "-n", str(options.ranks), str(options.program), "engine", "--strategy", strategy, "--model", options.model, "--patch",
               str(options.patch), "--image", str(options.image), "--images", str(options.images), "--steps", str(options.steps), "--json"]
    if options.bf16:
        command.append("--bf16")
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    if os.geteuid() == 0:
        environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_btl_vader_single_copy_mechanism": "none"}
    if options.ranks > len(os.sched_getaffinity(0)):
        environment |= {"OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"cohort-perf failed:\n{result.stderr}")
    row = json.loads([line for line in result.stdout.splitlines() if line.startswith("{")][-1])
    return {"images_per_second": row["images_s_all"], "peak_mib": row["peak_MiB"]}


def main():
    options = parse()
    if options.worker:
        return worker(options)
    programs = {"Cohort replicate": lambda: run_cohort("replicate", options), "PyTorch DDP": lambda: run_torch("ddp", options),
                "Cohort full": lambda: run_cohort("full", options), "PyTorch FSDP2": lambda: run_torch("fsdp2", options)}
    samples = {name: [] for name in programs}
    for number in range(options.rounds):
        for name, run in programs.items():
            samples[name].append(run())
            print(f"# round {number + 1}/{options.rounds}: {name} {samples[name][-1]['images_per_second']:.2f} images/s", file=sys.stderr)
    print(f"{options.model}/{options.patch}, {options.image}², {options.images} images on each of {options.ranks} ranks, 1 thread a rank, "
          f"{'bf16' if options.bf16 else 'fp32'}; {options.rounds} rounds in turns")
    print(f"{'':18}{'images/s, all ranks':>30}{'peak memory a rank':>22}")
    print(f"{'':18}{'median':>10}{'best':>10}{'of peer':>10}{'MiB':>12}{'of peer':>10}")
    for name, peer in (("Cohort replicate", "PyTorch DDP"), ("PyTorch DDP", None), ("Cohort full", "PyTorch FSDP2"), ("PyTorch FSDP2", None)):
        rate = statistics.median(s["images_per_second"] for s in samples[name])
        memory = statistics.median(s["peak_mib"] for s in samples[name])
        line = f"{name:18}{rate:10.2f}{max(s['images_per_second'] for s in samples[name]):10.2f}"
        if peer:
            ratios = [ours["images_per_second"] / theirs["images_per_second"] for ours, theirs in zip(samples[name], samples[peer])]
            line += f"{statistics.median(ratios):9.2f}x{memory:12.0f}{memory / statistics.median(s['peak_mib'] for s in samples[peer]):9.2f}x"
        else:
            line += f"{'':10}{memory:12.0f}"
        print(line)
    if options.json:
        measured = {k: v for k, v in vars(options).items() if k not in ("program", "json", "worker")}  # no paths of this machine
        options.json.write_text(json.dumps({"options": measured, "samples": samples}, indent=1) + "\n")


if __name__ == "__main__":
    main()
