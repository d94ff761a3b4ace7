#!/usr/bin/env python3
"""A DINO step of a ContextViT: Cohort beside the method's published training loop written with stock PyTorch and timm modules.

Same sizes, same number of views (2 of 96², 8 of 32²), same images a step, one thread each, AdamW, gradients clipped by parameter. Cohort
runs whole, `cohort train` on images of cohort-data synth with the views of camelyon_dino made beside the step by one more thread; the peer
has its views in memory. The programs take turns, round after round, so that a change of the machine's load meets them all.

    .deps/python/bin/python perf/peers/dino.py --rounds 3
"""
import copy
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import common

LARGE, SMALL, LARGE_VIEWS, SMALL_VIEWS, PATCH = 96, 32, 2, 8, 8
SKIPPED = 2  # steps of a run that are not measured


def parse():
    parser = common.parser(__doc__)
    parser.add_argument("--steps", type=int, default=4, help=f"steps measured in a run, after {SKIPPED} that are not")
    parser.add_argument("--model", default="vit_small", choices=["vit_tiny", "vit_small", "vit_base"])
    parser.add_argument("--images", type=int, default=8, help="images a step, of one context")
    parser.add_argument("--prototypes", type=int, default=65536)
    return parser.parse_args()


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

    from models import ContextViT

    warnings.filterwarnings("ignore", message=".*weight_norm.*")
    torch.set_num_threads(1)
    torch.manual_seed(1)
    backbone = ContextViT(options.model, PATCH, LARGE)
    student = torch.nn.ModuleDict({"backbone": backbone, "head": head(backbone.width, options)})
    teacher = torch.nn.ModuleDict({"backbone": ContextViT(options.model, PATCH, LARGE), "head": head(backbone.width, options)})
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


def run_cohort(precision, folder, options):
    run = folder / "run"
    common.output_of([options.programs / "cohort", "train", folder / "dino.yaml", f"run_dir={run}", f"precision={precision}", "--overwrite"])
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
        programs = {}
        for precision in ("fp32", "bf16"):
            programs[f"Cohort {precision}"] = lambda p=precision: run_cohort(p, folder, options)
            programs[f"PyTorch {precision}"] = lambda p=precision: common.workers(p, 1)["seconds"]
        samples = common.in_turns(programs, options.rounds)
    lines = []
    for name, runs in samples.items():
        shares = ["", ""]
        if name.startswith("Cohort"):
            shares = [f"{common.ratio(samples[peer], runs):.2f} ×" for peer in (name.replace("Cohort", "PyTorch"), "PyTorch fp32")]
        seconds = statistics.median(runs)
        lines.append([name, f"{seconds:.3f}", f"{options.images / seconds:.2f}", *shares])
    what = (f"a DINO step, ContextViT {options.model}/{PATCH}, {options.images} images in {LARGE_VIEWS} views of {LARGE}² and {SMALL_VIEWS} of {SMALL}², "
            f"{options.prototypes} prototypes, 1 thread")
    common.finish(options, what, ["", "s a step", "images/s", "of PyTorch, same precision", "of PyTorch fp32"], lines, samples)


if __name__ == "__main__":
    main()
