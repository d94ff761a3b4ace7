#!/usr/bin/env python3
"""What `cohort-perf plan` predicts for this machine beside what `cohort-perf step` measures, on 1, 2, 3 and 4 ranks.

Each round calibrates anew and then measures every case, so that other programs slow both alike; printed are medians over
the rounds. With more ranks than cores, ranks share them: that is part of the prediction.

    .deps/python/bin/python perf/compare_plan.py --rounds 3
"""
import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

from peers.common import environment

ROOT = Path(__file__).resolve().parent.parent


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=ROOT / "build/release/bin/cohort-perf", type=Path)
    parser.add_argument("--ranks", default="1,2,3,4")
    parser.add_argument("--strategies", default="replicate,full")
    parser.add_argument("--precisions", default="fp32")
    parser.add_argument("--config", default=ROOT / "configs/base.yaml", help="a recipe, or a file")
    parser.add_argument("--set", nargs="*", default=["model.name=vit_small", "model.patch_size=8"], metavar="KEY=VALUE")
    parser.add_argument("--image", type=int, default=96)
    parser.add_argument("--images", type=int, default=16, help="on each rank")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write all numbers as JSON")
    return parser.parse_args()


def run(ranks, command):
    whole = ["mpirun", "--oversubscribe", "-n", str(ranks), *map(str, command)] if ranks else list(map(str, command))
    done = subprocess.run(whole, capture_output=True, text=True, timeout=600, env=environment(ranks or 1))
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(whole)}\n{done.stdout}{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def settings(options, ranks, strategy, precision):
    """One group on each rank, as options of both commands."""
    chosen = [*options.set, f"sampler.groups_per_step={ranks}", f"sampler.images_per_group={options.images}",
              "context.keys=[]", "sampler.group_by=context", f"precision={precision}", f"sharding.strategy={strategy}"]
    return chosen + (["sharding.gather=bf16", "sharding.reduce=bf16"] if precision == "bf16" else [])


def measured(options, ranks, strategy, precision, folder):
    line = run(ranks, [options.program, "step", options.config, "--synthetic", f"{options.image}x{options.image}x3", "--dir", folder,
                       "--steps", options.steps, "--warmup", 2, "--json", *settings(options, ranks, strategy, precision)])[-1]
    return line["step_p50_ms"], line["resident_MiB"]


def predicted(options, hardware, ranks, strategy, precision):
    command = [options.program, "plan", options.config, "--hardware", hardware, "--gpu", "this", "--nodes", 1,
               "--gpus-per-node", ranks, "--image", f"3,{options.image},{options.image}", "--images", 10000,
               "--classes", 10, "--json", *settings(options, ranks, strategy, precision)]
    plan = run(0, command)[-1]["configured"]
    return plan["step_seconds"] * 1e3, plan["memory_bytes"] / 2**20


def main():
    options = parse_arguments()
    cases = [(precision, strategy, int(ranks)) for precision in options.precisions.split(",")
             for strategy in options.strategies.split(",") for ranks in options.ranks.split(",")]
    numbers = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as folder:
        hardware = Path(folder) / "this.yaml"
        for _ in range(options.rounds):
            run(2, [options.program, "calibrate", "--out", hardware])
            for precision, strategy, ranks in cases:
                time, memory = measured(options, ranks, strategy, precision, folder)
                plan_time, plan_memory = predicted(options, hardware, ranks, strategy, precision)
                numbers[precision, strategy, ranks].append((time, plan_time, memory, plan_memory))
    print("| dtype | strategy | ranks | ms a step, measured | predicted | error | lowest, highest error of the rounds "
          "| MiB, measured | predicted | error |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for (precision, strategy, ranks), rounds in numbers.items():
        time, plan_time, memory, plan_memory = (statistics.median(values) for values in zip(*rounds))
        errors = [100 * (p / t - 1) for t, p, _, _ in rounds]
        print(f"| {precision} | {strategy} | {ranks} | {time:.0f} | {plan_time:.0f} | {statistics.median(errors):+.0f} % "
              f"| {min(errors):+.0f} %, {max(errors):+.0f} % | {memory:.0f} | {plan_memory:.0f} "
              f"| {100 * (plan_memory / memory - 1):+.0f} % |")
    if options.out:
        rows = [{"dtype": p, "strategy": s, "ranks": r, "rounds": [dict(zip(
            ("measured_ms", "predicted_ms", "measured_MiB", "predicted_MiB"), one)) for one in rounds]}
                for (p, s, r), rounds in numbers.items()]
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
