#!/usr/bin/env python3
"""Checks of training on a GPU against the CPU, with the programs alone: no build tree, no Python packages.

Trains small models on the fixture tests/data/nuclei on the CPU and on one GPU and compares losses and weights: context scopes and
amortizations, residual networks, DINO, MAE, methods of two views, bf16, gradient checkpointing, resuming within and across devices, the sharding strategies on two ranks that share the
GPU (NCCL takes them for ranks of two hosts), and the refusal of a device that is not there. Writes one JSON object.

    tests/gpu/run.py --bin build/cuda/bin --out gpu-tests.json
Exit codes: 0 all agree, 1 some do not, 77 skipped because no GPU is visible. --device cpu checks this script itself: it compares the CPU with the CPU.
"""
import argparse
import json
import math
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STEPS = 20
# Relative to the loss. fp32 on both sides adds in another order; 20 steps carry the difference on.
CLOSE, CLOSE_BF16 = 2e-4, 3e-2
SKIPPED = 77
CONFIGURATIONS = {
    "plain vit": ["context.keys=[]"],
    "mean, group scope": ["context.amortization=mean"],
    "mean_linear, group scope": ["context.amortization=mean_linear"],
    "mean_linear, global scope": ["context.amortization=mean_linear", "context.scope=global"],
    "mean_linear_detach_layer, group scope": ["context.amortization=mean_linear_detach_layer"],
    "dictionary": ["context.amortization=dictionary", "context.scope=global"],
    "dropout and drop path": ["model.dropout=0.1", "model.drop_path=0.1"],
    "activation checkpointing": ["sharding.activation_checkpointing=true"],
    "reproducible": ["reproducible=true"],
}
DINO = ["method=dino", "augment.preset=cell_dino", "augment.multi_crop.global_size=64", "augment.multi_crop.local_size=32",
        "augment.multi_crop.local_crops=2", "dino.prototypes=256", "dino.hidden=64", "dino.bottleneck=32", "sampler.groups_per_step=4"]


TWO_VIEWS = ["{0}.hidden=64", "{0}.outputs=16", "sampler.groups_per_step=4"]
METHODS = {
    "mae": ["method=mae", "mae.decoder_width=32", "mae.decoder_depth=1", "mae.decoder_heads=2"],
    **{method: [f"method={method}", *(each.format(method) for each in TWO_VIEWS)] for method in ("simclr", "byol", "barlow_twins")},
    "resnet18": ["model.name=resnet18", "model.resnet.width=8", "context.keys=[]"],
    "cct": ["model.name=cct_7_3x2", "model.width=24", "model.depth=2", "model.heads=3"],
    "csit": ["model.name=csit_14_7x2_p8", "model.width=24", "model.depth=2", "model.heads=3"],
    "pvtv2": ["model.name=pvtv2_b0", "model.width=8", "context.keys=[]"],
    "simclr on resnet18": ["method=simclr", *(each.format("simclr") for each in TWO_VIEWS), "model.name=resnet18", "model.resnet.width=8", "context.keys=[]"],
}
# Adam turns the rounding of gradients that batch normalisation makes large into whole steps; an update by SGD is a multiple of the gradient.
SMOOTH = ["optimizer.name=sgd", "optimizer.lr=0.005", "optimizer.clip_norm=1"]


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path, default=ROOT / "build/cuda/bin", help="folder with cohort (a bundle's bin/ will do)")
    parser.add_argument("--mpirun", default="", help="default: mpirun of the same folder, then of PATH")
    parser.add_argument("--data", type=Path, default=ROOT / "tests/data/nuclei")
    parser.add_argument("--config", type=Path, default=ROOT / "configs/tests/nuclei.yaml")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--out", type=Path, help="where the JSON goes, besides the terminal")
    return parser.parse_args()


def gpus():
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return [line.split(" (UUID")[0] for line in listed.stdout.splitlines()] if listed.returncode == 0 else []


class Runs:
    """Starts trainings in a folder of their own."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        beside = options.bin / "mpirun"
        self.mpirun = options.mpirun or (str(beside) if beside.exists() else "mpirun")
        self.environment = dict(os.environ, OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "2"),
                                OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_hwloc_base_binding_policy="none",
                                OMPI_MCA_btl_vader_single_copy_mechanism="none")
        if os.geteuid() == 0:
            self.environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}

    def command(self, ranks, arguments):
        program = [str(self.options.bin / "cohort"), *arguments]
        if ranks == 1:
            return program
        # A host of its own for each rank: NCCL does not let two ranks of one host share a device.
        one = [["-n", "1", "-x", f"NCCL_HOSTID=host{rank}", *program] for rank in range(ranks)]
        return [self.mpirun, *[word for rank, words in enumerate(one) for word in ([":"] if rank else []) + words]]

    def run(self, arguments, ranks=1, **environment):
        return subprocess.run(self.command(ranks, arguments), env=self.environment | environment, capture_output=True, text=True,
                              timeout=240, check=False)

    def train(self, name, device, overrides=(), steps=STEPS, ranks=1):
        """The losses of a run, by step."""
        run = self.folder / name.replace(" ", "_").replace(",", "")
        arguments = ["train", str(self.options.config), f"data.path={self.options.data}", f"run_dir={run}", f"device={device}",
                     f"train.max_steps={steps}", f"schedule.warmup_steps={STEPS}", "checkpoint.every_steps=10", "eval.splits=[]", *overrides]
        result = self.run(arguments, ranks)
        if result.returncode != 0:
            raise RuntimeError(f"{name} on {device} ended with exit code {result.returncode}:\n{result.stderr[-3000:]}")
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return run, {line["step"]: line["loss"] for line in lines if line["kind"] == "step"}


def largest_difference(ours, theirs):
    """Of the losses of the same steps, relative."""
    if not ours or ours.keys() != theirs.keys():
        raise RuntimeError(f"steps {sorted(ours)} and {sorted(theirs)} differ")
    differences = [abs(ours[step] - theirs[step]) / max(abs(theirs[step]), 1e-6) for step in ours]
    return math.inf if any(math.isnan(each) for each in differences) else max(differences)


def weights(run):
    """All values of the run's weights.safetensors."""
    data = (run / "weights.safetensors").read_bytes()
    header = struct.unpack("<Q", data[:8])[0]
    body = data[8 + header:]
    return struct.unpack(f"<{len(body) // 4}f", body)


def cases(runs, device):
    """(name, allowed difference, body that returns the difference)."""
    for name, overrides in CONFIGURATIONS.items():
        def body(name=name, overrides=overrides):
            return largest_difference(runs.train(f"{name} on {device}", device, overrides)[1], runs.train(f"{name} on cpu", "cpu", overrides)[1])
        yield name, CLOSE, body

    for name, overrides in METHODS.items():
        def method(name=name, chosen=(*overrides, *SMOOTH)):
            return largest_difference(runs.train(f"{name} on {device}", device, chosen)[1], runs.train(f"{name} on cpu", "cpu", chosen)[1])
        yield name, CLOSE * 5, method

    def pooled():
        chosen = [*METHODS["simclr"], *SMOOTH, "sharding.strategy=full"]
        return largest_difference(runs.train("simclr on two ranks", device, chosen, ranks=2)[1], runs.train("simclr on one rank", device, chosen)[1])
    yield "two ranks, simclr, full", CLOSE * 5, pooled

    def dino():
        return largest_difference(runs.train("dino there", device, DINO)[1], runs.train("dino here", "cpu", DINO)[1])
    yield "dino", CLOSE * 5, dino

    def bf16():
        return largest_difference(runs.train("bf16 there", device, ["precision=bf16"])[1], runs.train("fp32 there", device)[1])
    yield "bf16 against fp32 on the device", CLOSE_BF16, bf16

    def resumed(second, name):
        whole, _ = runs.train(f"whole {name}", device)
        part, _ = runs.train(f"part {name}", device, steps=10)
        runs.train(f"part {name}", second)
        return max(abs(a - b) for a, b in zip(weights(part), weights(whole)))
    yield "resumed on the device, weights", CLOSE, lambda: resumed(device, "device")
    yield "resumed on the cpu, weights", CLOSE, lambda: resumed("cpu", "cpu")

    for strategy in ("replicate", "optimizer", "full"):
        def sharded(strategy=strategy):
            chosen = [f"sharding.strategy={strategy}"]
            return largest_difference(runs.train(f"{strategy} on two ranks", device, chosen, ranks=2)[1],
                                      runs.train(f"{strategy} on one rank", device, chosen)[1])
        yield f"two ranks, {strategy}", CLOSE, sharded

    def bf16_gather():
        chosen = ["sharding.strategy=full", "sharding.gather=bf16", "precision=bf16"]
        return largest_difference(runs.train("bf16 gather two ranks", device, chosen, ranks=2)[1], runs.train("bf16 gather one rank", device, chosen)[1])
    yield "two ranks, full, gathered in bf16", CLOSE_BF16, bf16_gather

    def refused():
        result = runs.run(["train", str(runs.options.config), f"data.path={runs.options.data}", f"run_dir={runs.folder / 'refused'}", "device=cuda"],
                          CUDA_VISIBLE_DEVICES="")
        said = "device is cuda, but there is no CUDA device" in result.stderr
        return 0.0 if result.returncode == 2 and said else math.inf
    yield "device=cuda without a device is refused", 0.0, refused


def checked(name, allowed, body):
    begin = time.monotonic()
    row = {"case": name, "allowed": allowed}
    try:
        row["difference"] = body()
        row["agrees"] = row["difference"] <= allowed
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        row |= {"agrees": False, "error": str(error)}
    row["seconds"] = round(time.monotonic() - begin, 1)
    print(f"{'ok  ' if row['agrees'] else 'FAIL'} {name:42} {row.get('difference', math.nan):10.2e} of {allowed:.0e}  {row['seconds']} s", flush=True)
    if "error" in row:
        print(row["error"], file=sys.stderr)
    return row


def main():
    options = parse()
    options.bin, options.data, options.config = options.bin.resolve(), options.data.resolve(), options.config.resolve()
    devices = gpus()
    if options.device == "cuda" and not devices:
        print("skipped: no CUDA device (nvidia-smi lists none)")
        return SKIPPED
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(options, Path(folder))
        version = runs.run(["--version"]).stdout.strip()
        rows = [checked(*case) for case in cases(runs, options.device) if options.only in case[0]]
    result = {"kind": "gpu-tests", "version": version, "device": options.device, "gpus": devices, "steps": STEPS, "cases": rows,
              "agree": sum(row["agrees"] for row in rows), "of": len(rows)}
    print(f"{result['agree']} of {result['of']} agree; {version}")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if result["agree"] == result["of"] else 1


if __name__ == "__main__":
    sys.exit(main())
