#!/usr/bin/env python3
"""Checkpoints of Cohort beside torch.distributed.checkpoint (DTensors sharded over the ranks, files synced), in one run, in the same folder.

    .deps/python/bin/python perf/peers/checkpoint.py --ranks 2 --mib 512 --dir runs

Loads come from the disk: both drop their files from the page cache before. Cohort's save reads everything back and compares checksums, which the peer does not.
"""
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import common


def parse():
    parser = common.parser(__doc__)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--mib", type=int, default=256, help="MiB of the state, over all ranks")
    parser.add_argument("--dir", type=Path, default=Path("."), help="folder to write into")
    return parser.parse_args()


def forget(folder):
    for file in folder.iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def worker(options):
    import torch
    import torch.distributed as dist
    import torch.distributed.checkpoint as dcp
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    mesh = init_device_mesh("cpu", (ranks,))
    whole = torch.arange(4096 * 1024, dtype=torch.float32).view(4096, 1024)  # 16 MiB each, as in cohort-perf checkpoint
    state = {f"blocks.{i}.weight": distribute_tensor(whole + i, mesh, [Shard(0)]) for i in range(max(1, options.mib // 16))}
    folder = Path(os.environ["COHORT_PEER_FOLDER"]) / "checkpoint"

    def timed(call):
        dist.barrier()
        begin = time.perf_counter()
        call()
        slowest = torch.tensor([time.perf_counter() - begin])
        dist.all_reduce(slowest, dist.ReduceOp.MAX)
        return slowest.item()

    save = timed(lambda: dcp.save(state, checkpoint_id=folder))
    if rank == 0:
        forget(folder)
    for value in state.values():
        value.to_local().zero_()
    load = timed(lambda: dcp.load(state, checkpoint_id=folder))
    wrong = sum(int((value.to_local() != (whole + i).chunk(ranks)[rank]).sum()) for i, value in enumerate(state.values()))
    if wrong:
        raise SystemExit(f"{wrong} values did not come back")
    if rank == 0:
        print(json.dumps({"save": save, "load": load}), flush=True)
    dist.barrier()
    dist.destroy_process_group()


def run_torch(options):
    folder = tempfile.mkdtemp(dir=options.dir)
    os.environ["COHORT_PEER_FOLDER"] = folder
    try:
        return common.workers("dcp", options.ranks)
    finally:
        shutil.rmtree(folder)


def run_cohort(options):
    rows = common.cohort_perf(options, ["checkpoint", "--size", f"{options.mib}MiB", "--dir", options.dir, "--rounds", 1], options.ranks, "checkpoint")
    return {row["stage"]: row["time_p50_ms"] / 1e3 for row in rows if row["stage"] in ("save", "load")}


def main():
    options = parse()
    if options.worker:
        return worker(options)
    samples = common.in_turns({"Cohort": lambda: run_cohort(options), "torch.distributed.checkpoint": lambda: run_torch(options)}, options.rounds)
    lines = []
    for stage in ("save", "load"):
        ours, theirs = ([run[stage] for run in runs] for runs in samples.values())
        rates = [f"{options.mib * 1.048576e-3 / statistics.median(times):.2f}" for times in (ours, theirs)]
        lines.append([stage, *rates, f"{common.ratio(theirs, ours):.2f} ×"])
    common.finish(options, f"checkpoints of {options.mib} MiB on {options.ranks} ranks, GB/s", ["", *samples, "as fast as the peer"], lines, samples)


if __name__ == "__main__":
    main()
