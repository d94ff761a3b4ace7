#!/usr/bin/env python3
"""Collectives of Cohort beside mpi4py (blocking calls on NumPy arrays, as the OSU benchmarks make them) and gloo (torch.distributed), in one run.

    .deps/python/bin/python perf/peers/collectives.py --ranks 2

Needs perf/peers/install.sh. In place where the collective can be; f32; the median over repetitions of the time of the slowest rank.
"""
import json
import statistics
import sys
import time

import common

OPERATIONS = ["all_reduce", "all_gather", "reduce_scatter", "broadcast"]


def parse():
    parser = common.parser(__doc__)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64 << 10, 1 << 20, 16 << 20], help="bytes of the larger buffer")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement")
    return parser.parse_args()


def timed(call, fill, barrier, slowest, seconds):
    """Median time of the slowest rank on fresh values, in microseconds: as cohort-perf takes it."""
    def once():
        fill()
        barrier()
        begin = time.perf_counter()
        call()
        return time.perf_counter() - begin

    first = slowest([once()])[0]
    return 1e6 * statistics.median(slowest([once() for _ in range(min(1000, max(5, int(seconds / first))))]))


def mpi_worker(options):
    import numpy
    from mpi4py import MPI

    world = MPI.COMM_WORLD

    def slowest(times):
        result = numpy.array(times)
        world.Allreduce(MPI.IN_PLACE, result, MPI.MAX)
        return list(result)

    times = {}
    for size in options.sizes:
        large = numpy.ones(size // 4, "float32")
        small = numpy.ones(len(large) // world.size, "float32")

        def fill():
            large.fill(world.rank + 1)
            small.fill(world.rank + 1)

        calls = {"all_reduce": lambda: world.Allreduce(MPI.IN_PLACE, large), "all_gather": lambda: world.Allgather(MPI.IN_PLACE, large),
                 "reduce_scatter": lambda: world.Reduce_scatter_block(large, small), "broadcast": lambda: world.Bcast(large)}
        times |= {f"{name} {size}": timed(call, fill, world.Barrier, slowest, options.seconds) for name, call in calls.items()}
    if world.rank == 0:
        print(json.dumps(times))


def gloo_worker(options):
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    ranks = dist.get_world_size()

    def slowest(times):
        result = torch.tensor(times, dtype=torch.float64)
        dist.all_reduce(result, dist.ReduceOp.MAX)
        return result.tolist()

    times = {}
    for size in options.sizes:
        large = torch.ones(size // 4)
        small = torch.ones(len(large) // ranks)

        def fill():
            large.fill_(dist.get_rank() + 1)
            small.fill_(dist.get_rank() + 1)

        calls = {"all_reduce": lambda: dist.all_reduce(large), "all_gather": lambda: dist.all_gather_into_tensor(large, small),
                 "reduce_scatter": lambda: dist.reduce_scatter_tensor(small, large), "broadcast": lambda: dist.broadcast(large, 0)}
        times |= {f"{name} {size}": timed(call, fill, dist.barrier, slowest, options.seconds) for name, call in calls.items()}
    if dist.get_rank() == 0:
        print(json.dumps(times), flush=True)
    dist.barrier()
    dist.destroy_process_group()


def run_cohort(options):
    times = {}
    for size in options.sizes:
        rows = common.cohort_perf(options, ["collectives", "--min", size, "--max", size, "--seconds", options.seconds], options.ranks)
        times |= {f"{row['op']} {size}": row["time_p50_us"] for row in rows}
    return times


def main():
    options = parse()
    if options.worker:
        return {"mpi4py": mpi_worker, "gloo": gloo_worker}[options.worker](options)
    mpi = ["mpirun", "-n", options.ranks, sys.executable, *sys.argv, "--worker", "mpi4py"]
    programs = {"Cohort": lambda: run_cohort(options), "mpi4py": lambda: common.json_lines(common.output_of(mpi, options.ranks))[-1],
                "gloo": lambda: common.workers("gloo", options.ranks)}
    samples = common.in_turns(programs, options.rounds)
    lines = []
    for operation in OPERATIONS:
        for size in options.sizes:
            of = {name: [run[f"{operation} {size}"] for run in runs] for name, runs in samples.items()}
            lines.append([operation, f"{size >> 10:,} KiB", *(f"{statistics.median(times):,.0f}" for times in of.values()),
                          f"{common.ratio(of['mpi4py'], of['Cohort']):.2f} ×", f"{common.ratio(of['gloo'], of['Cohort']):.2f} ×"])
    common.finish(options, f"collectives on {options.ranks} ranks, f32, times in us", ["", "size", *samples, "as fast as mpi4py", "as fast as gloo"], lines,
                  samples)


if __name__ == "__main__":
    main()
