#!/usr/bin/env python3
"""Evaluation and extraction of features: Cohort beside timm and PyTorch's DataLoader, on the same cores, in turns.

    .deps/python/bin/python perf/peers/evaluation.py --rounds 3

The same weights (timm's, drawn at random), the same images (a dataset of cohort-data synth; the DataLoader reads it with h5py and decodes with Pillow). Cohort runs on as
many ranks as there are cores, one thread each; timm's model in one process with as many threads, and as many worker processes that read ahead. The logits of both are compared.
"""
import json
import os
import re
import statistics
import tempfile
import time
from pathlib import Path

import common

CORES = len(os.sched_getaffinity(0))


def parse():
    parser = common.parser(__doc__)
    parser.add_argument("--model", default="vit_small", choices=["vit_tiny", "vit_small", "vit_base"])
    parser.add_argument("--patch", type=int, default=8)
    parser.add_argument("--image", type=int, default=96)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--codec", default="jpeg", choices=["raw", "png", "jpeg"])
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--batch", type=int, default=64, help="of the DataLoader")
    return parser.parse_args()


def make_inputs(folder, options):
    import torch
    from safetensors.torch import save_file

    import models

    common.output_of([options.programs / "cohort-data", "synth", "--contexts", 8, "--images-per-context", options.images // 8, "--size", options.image,
                      "--channels", 3, "--codec", options.codec, "--out", folder / "data"])
    description = json.loads((folder / "data/dataset.json").read_text())
    torch.manual_seed(1)
    model = models.vit(options.model, options.patch, options.image, len(description["labels"][0]["classes"])).eval()
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "weights.safetensors")
    (folder / "model.yaml").write_text(f"model: {{name: {options.model}, patch_size: {options.patch}}}\ndata: {{path: {folder / 'data'}}}\n"
                                       f"precision: {'bf16' if options.bf16 else 'fp32'}\n")
    return model, description["splits"][0]["name"]


def timm_rates(folder, model, options):
    """Images/s of scores (accuracy over all images) and of features written to a file, and the logits."""
    import h5py
    import torch

    import loader

    torch.set_num_threads(CORES)
    batches = torch.utils.data.DataLoader(loader.Rows(folder / "data"), batch_size=options.batch, num_workers=CORES, persistent_workers=True)
    next(iter(batches))  # workers started

    def run(forward):
        begin, made = time.perf_counter(), []
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            for images in batches:
                made.append(forward(images).float())
        return torch.cat(made), begin

    logits, begin = run(model)
    (logits.argmax(1) == 0).float().mean().item()
    evaluation = options.images / (time.perf_counter() - begin)
    features, begin = run(lambda images: model.forward_head(model.forward_features(images), pre_logits=True))
    with h5py.File(folder / "theirs.h5", "w") as file:
        file["features"] = features.numpy()
    return evaluation, options.images / (time.perf_counter() - begin), logits


def cohort_rates(folder, split, options):
    import h5py

    model = ["--weights", folder / "weights.safetensors", "--model", folder / "model.yaml", "--split", split, "--overwrite"]
    start = ["mpirun", "-n", CORES, options.programs / "cohort"]
    common.output_of([*start, "eval", *model, "--out", folder / "scores.jsonl"], CORES)
    evaluation = json.loads((folder / "scores.jsonl").read_text().splitlines()[0])["images_per_second"]
    said = common.output_of([*start, "extract", *model, "--logits", "--out", folder / "ours.h5"], CORES, with_log=True)
    extraction = float(re.search(r"([\d,]+) images/s", said).group(1).replace(",", ""))
    with h5py.File(folder / "ours.h5") as file:
        return evaluation, extraction, file["logits"][:]


def main():
    import torch

    options = parse()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model, split = make_inputs(folder, options)
        results = {}

        def keep(name, rates):
            results[name] = rates[2]
            return rates[:2]

        runs = common.in_turns({"Cohort": lambda: keep("Cohort", cohort_rates(folder, split, options)),
                                "timm": lambda: keep("timm", timm_rates(folder, model, options))}, options.rounds)
    apart = (torch.from_numpy(results["Cohort"]) - results["timm"]).abs().max().item() / results["timm"].abs().max().item()
    lines = []
    for number, what in enumerate(("evaluation", "extraction")):
        ours, theirs = ([round_[number] for round_ in runs[name]] for name in ("Cohort", "timm"))
        lines.append([what, f"{statistics.median(ours):.1f}", f"{statistics.median(theirs):.1f}", f"{common.ratio(ours, theirs):.2f} ×"])
    what = (f"{options.model}/{options.patch}, {options.images} {options.codec} images of {options.image}×{options.image}×3, {'bf16' if options.bf16 else 'fp32'}, {CORES} cores, images/s; "
            f"logits {apart:.1e} apart, of the largest one")
    common.finish(options, what, ["", "Cohort", "timm and DataLoader", "of timm"], lines, runs)


if __name__ == "__main__":
    main()
