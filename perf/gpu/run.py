#!/usr/bin/env python3
"""Training steps on one GPU beside PyTorch: images/s, MFU, memory, where the time of a step goes, views and collectives, in one JSON file.

Cohort trains as a user would (cohort train on images of cohort-data synth, views included); the peer has its images in memory. They take
turns. Needs the programs (a build or a bundle) and a Python with PyTorch. Some six minutes on one H200 are planned for; --budget ends it in time.

    perf/gpu/run.py --bin build/cuda/bin --out perf/results/DATE-gpu.json
Exit codes: 0 done, 1 a program failed, 77 skipped because no GPU is visible. --device cpu --tiny tries the script itself.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = 77
WARMUP = 5  # steps of a run that are not measured


def case(name, method, model, image, images, compiled=False, **more):
    return {"name": name, "method": method, "model": model, "image": image, "images": images, "compiled": compiled, "overrides": [], **more}


CASES = [
    case("ViT-L/16 supervised", "supervised", "vit_large", 224, 256),
    case("ViT-S/16 supervised", "supervised", "vit_small", 224, 512, compiled=True),
    case("DINO ViT-S/16, 2+8 views, made on the GPU", "dino", "vit_small", 224, 64, small=96, prototypes=65536, overrides=["augment.on_device=true"]),
    case("DINO ViT-S/16, 2+8 views, made by loader threads", "dino", "vit_small", 224, 64, small=96, prototypes=65536),
    case("ContextViT-S/16 supervised", "supervised", "vit_small", 224, 512,
         overrides=["context.keys=[context]", "context.amortization=mean_linear"]),
]
TINY = [case("tiny supervised", "supervised", "vit_tiny", 32, 8),
        case("tiny DINO", "dino", "vit_tiny", 32, 4, small=16, prototypes=256, overrides=["augment.on_device=true"])]


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path, default=ROOT / "build/cuda/bin", help="folder of cohort, cohort-data and cohort-perf")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="sizes for a try")
    parser.add_argument("--steps", type=int, default=20, help=f"measured in a run, after {WARMUP} that are not")
    parser.add_argument("--peak", type=float, default=989.0, help="TFLOP/s in bf16 of the device, for MFU: H100 and H200 SXM, dense")
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) - 2), help="of the loader")
    parser.add_argument("--budget", type=float, default=450.0, help="seconds after which no more is started")
    parser.add_argument("--out", type=Path, help="where the JSON goes, besides the terminal")
    return parser.parse_args()


def gpus():
    if not shutil.which("nvidia-smi"):
        return []
    asked = "--query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit"
    listed = subprocess.run(["nvidia-smi", asked, "--format=csv,noheader"], capture_output=True, text=True, check=False)
    return listed.stdout.strip().splitlines() if listed.returncode == 0 else []


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.environment = dict(os.environ, OMPI_MCA_btl_vader_single_copy_mechanism="none", OMPI_MCA_rmaps_base_oversubscribe="1",
                                OMPI_MCA_hwloc_base_binding_policy="none")
        if os.geteuid() == 0:
            self.environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}

    def output(self, *command):
        words = [str(word) for word in command]
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)} ended with exit code {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
        return done.stdout

    def program(self, name):
        return self.options.bin / name

    def rows(self, *arguments):
        text = self.output(self.program("cohort-perf"), *arguments, "--json")
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [line for line in lines if line["kind"] == "row"]

    def dataset(self, image, images):
        path = self.folder / f"images{image}"
        if not path.exists():
            contexts = 4
            self.output(self.program("cohort-data"), "synth", "--contexts", contexts, "--images-per-context", -(-2 * images // contexts), "--size", image,
                        "--out", path)
        return path

    def config(self, what):
        groups = 4 if what["images"] % 4 == 0 else 1
        method = {"supervised": "", "dino": f"""
augment: {{preset: camelyon_dino, multi_crop: {{global_size: {what["image"]}, local_size: {what.get("small", 96)}}}}}
dino: {{prototypes: {what.get("prototypes", 65536)}, freeze_last_layer: 0}}
"""}[what["method"]]
        path = self.folder / f"{what['method']}-{what['model']}-{what['image']}.yaml"
        path.write_text(f"""
method: {what["method"]}
precision: bf16
device: {self.options.device}
data: {{path: {self.dataset(what["image"], what["images"])}, normalisation: imagenet, loader: {{threads: {self.options.threads}}}}}
model: {{name: {what["model"]}, patch_size: {min(16, what.get("small", what["image"]) // 2)}}}
sampler: {{groups_per_step: {groups}, images_per_group: {what["images"] // groups}}}
optimizer: {{lr: 1e-4, weight_decay: 0.04, clip_norm: {3 if method else 1}, clip: {"parameter" if method else "global"}}}
train: {{max_steps: {WARMUP + self.options.steps}, log_every_steps: 1000}}
{method}""")
        return path

    def train(self, what):
        run = self.folder / "run"
        self.output(self.program("cohort"), "train", self.config(what), f"run_dir={run}", "eval.splits=[]", "--overwrite", *what["overrides"])
        steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        steps = [line for line in steps if line["kind"] == "step"][WARMUP:]
        shutil.rmtree(run)
        return {"seconds": statistics.median(line["seconds"] for line in steps), "data_wait": statistics.median(line["data_wait"] for line in steps),
                "device_memory_bytes": steps[-1].get("device_memory_bytes")}

    def peer(self, what, compiled=False):
        patch = min(16, what.get("small", what["image"]) // 2)
        words = [sys.executable, Path(__file__).with_name("peer.py"), what["method"], "--model", what["model"], "--image", what["image"], "--patch", patch,
                 "--images", what["images"], "--device", self.options.device, "--steps", self.options.steps, "--small", what.get("small", 96),
                 "--prototypes", what.get("prototypes", 65536)]
        return json.loads(self.output(*words, *(["--compiled"] if compiled else [])).strip().splitlines()[-1])

    def stages(self, what):
        peak = [] if self.options.device == "cpu" else ["--peak", self.options.peak]
        return self.rows("step", self.config(what), "--steps", 5, "--warmup", 3, "--dir", self.folder, *peak, *what["overrides"])


def measured(bench, what):
    """Cohort and the peer in turns, twice; then where the time goes."""
    row = {"case": what["name"], "images": what["images"], "image": what["image"]}
    ours, eager = [], []
    for _ in range(2):
        ours.append(bench.train(what))
        eager.append(bench.peer(what))
    fastest = min(ours, key=lambda each: each["seconds"])
    row |= {"cohort": ours, "eager": eager, "images_per_second": what["images"] / fastest["seconds"],
            "of_eager": min(each["seconds"] for each in eager) / fastest["seconds"]}
    if what["compiled"]:
        row["compiled"] = bench.peer(what, compiled=True)
        row["of_compiled"] = row["compiled"]["seconds"] / fastest["seconds"]
    row["stages"] = bench.stages(what)
    flop = next(each["model_GFLOP_image"] for each in row["stages"] if "model_GFLOP_image" in each) * 1e9
    row["mfu"] = flop * row["images_per_second"] / (bench.options.peak * 1e12)
    print(f"{what['name']:50} {row['images_per_second']:9.1f} images/s  {100 * row['mfu']:5.1f} % MFU  {row['of_eager']:.2f} x eager"
          + (f"  {row['of_compiled']:.2f} x compiled" if what["compiled"] else ""), flush=True)
    return row


def main():
    options = parse()
    options.bin = options.bin.resolve()
    devices = gpus()
    if options.device == "cuda" and not devices:
        print("skipped: no CUDA device (nvidia-smi lists none)")
        return SKIPPED
    begin = time.monotonic()
    result = {"kind": "gpu-benchmark", "gpus": devices, "peak_tflops": options.peak, "cases": [], "left_out": [], "errors": []}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, Path(folder))
        result["version"] = bench.output(bench.program("cohort"), "--version").strip()
        tasks = [(what["name"], lambda what=what: result["cases"].append(measured(bench, what))) for what in (TINY if options.tiny else CASES)]
        tasks.append(("views", lambda: result.update(views=bench.rows("views", "--device", options.device, "--seconds", 1))))
        for name, task in tasks:
            if time.monotonic() - begin > options.budget:
                result["left_out"].append(name)
                continue
            try:
                task()
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                result["errors"].append({"case": name, "error": str(error)})
                print(f"{name} failed: {error}", file=sys.stderr, flush=True)
    result["seconds"] = round(time.monotonic() - begin, 1)
    print(f"{len(result['cases'])} cases in {result['seconds']} s; {result['version']}; {'; '.join(devices) or 'cpu'}")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    return 1 if result["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
