#!/usr/bin/env python3
"""Batches of normalised images from the page cache: Cohort beside PyTorch's DataLoader with h5py, in turns, for each codec.

    .deps/python/bin/python perf/peers/loader.py --workers 2 --rounds 3

Makes its datasets with cohort-data synth in a temporary folder. The DataLoader has as many worker processes as Cohort has threads; a
worker opens the shards once, reads a row with h5py (Pillow decodes png and jpeg) and normalises it. The last line is of images with a
mask and boxes, cropped, flipped and changed in brightness and contrast, on the other side by torchvision's transforms v2.
"""
import io
import json
import statistics
import tempfile
import time
from pathlib import Path

import h5py
import numpy
import torch
import torchvision.tv_tensors
from PIL import Image
from torchvision.transforms import v2

import common

BATCH = 256
TARGETS = "mask and boxes"


class Rows(torch.utils.data.Dataset):
    def __init__(self, folder):
        self.folder = folder
        self.description = json.loads((folder / "dataset.json").read_text())
        self.codec = self.description["images"].get("codec", "raw")
        self.shards = [shard for split in self.description["splits"] for shard in split["shards"]]
        self.ends = numpy.cumsum([shard["rows"] for shard in self.shards])
        self.mean = numpy.array(self.description["mean"], "float32")[:, None, None]
        self.scale = (1 / numpy.array(self.description["deviation"], "float32"))[:, None, None]
        self.files = None

    def __len__(self):
        return int(self.ends[-1])

    def open(self):
        self.files = [h5py.File(self.folder / shard["file"], "r") for shard in self.shards]
        name = "images" if self.codec == "raw" else "encoded"
        self.rows = [file[name] for file in self.files]
        self.offsets = None if self.codec == "raw" else [file["offset"][:] for file in self.files]

    def __getitem__(self, row):
        if self.files is None:
            self.open()
        shard = int(numpy.searchsorted(self.ends, row, side="right"))
        row -= int(self.ends[shard - 1]) if shard else 0
        if self.codec == "raw":
            image = self.rows[shard][row]
        else:
            begin, end = self.offsets[shard][row:row + 2]
            image = numpy.asarray(Image.open(io.BytesIO(self.rows[shard][begin:end].tobytes()))).transpose(2, 0, 1)
        return torch.from_numpy((image - self.mean) * self.scale)


class Targets(Rows):
    """Images with the fields `mask` and `boxes`, changed as the stage `fields` of cohort-perf does."""

    def __init__(self, folder):
        super().__init__(folder)
        layout = self.description["images"]
        self.size = layout["height"], layout["width"]
        self.change = v2.Compose([
            v2.RandomResizedCrop(self.size, scale=(0.5, 1.0), interpolation=v2.InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), v2.ColorJitter(brightness=0.2, contrast=0.2),
            v2.ToDtype(torch.float32, scale=False), v2.Normalize(self.mean.ravel().tolist(), (1 / self.scale).ravel().tolist())])

    def open(self):
        super().open()
        self.masks = [file["field/mask/values"] for file in self.files]
        self.boxes = [(file["field/boxes/values"], file["field/boxes/offset"][:]) for file in self.files]

    def __getitem__(self, row):
        if self.files is None:
            self.open()
        shard = int(numpy.searchsorted(self.ends, row, side="right"))
        row -= int(self.ends[shard - 1]) if shard else 0
        values, offset = self.boxes[shard]
        boxes = torch.from_numpy(values[offset[row]:offset[row + 1]])
        return self.change(torchvision.tv_tensors.Image(self.rows[shard][row]), torchvision.tv_tensors.Mask(self.masks[shard][row]),
                           torchvision.tv_tensors.BoundingBoxes(boxes[:, :4], format="XYXY", canvas_size=self.size)), boxes[:, 4]


def with_targets(samples):
    changed, classes = zip(*samples)
    images, masks, boxes = zip(*changed)
    return torch.stack(images), torch.stack(masks), boxes, classes


def torch_rate(folder, workers, seconds):
    has_targets = folder.name == TARGETS
    loader = torch.utils.data.DataLoader(Targets(folder) if has_targets else Rows(folder), batch_size=BATCH, num_workers=workers,
                                         persistent_workers=True, collate_fn=with_targets if has_targets else None)
    for _ in loader:  # workers started, files in the page cache
        pass
    begin, images = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        for batch in loader:
            images += len(batch[0] if has_targets else batch)
    return images / (time.perf_counter() - begin)


def cohort_rate(folder, options):
    arguments = ["data", folder, "--batch", BATCH, "--threads", options.workers, "--seconds", options.seconds]
    stage = "fields" if folder.name == TARGETS else "evaluation"
    return next(row["all_ranks_images_s"] for row in common.cohort_perf(options, arguments) if row["stage"] == stage)


def main():
    parser = common.parser(__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--codecs", nargs="+", default=["raw", "png", "jpeg", TARGETS], choices=["raw", "png", "jpeg", TARGETS])
    options = parser.parse_args()
    samples, lines = {}, []
    with tempfile.TemporaryDirectory() as temporary:
        for codec in options.codecs:
            folder = Path(temporary) / codec
            kind = ["--field", "mask", "--field", "boxes"] if codec == TARGETS else ["--codec", codec]
            common.output_of([options.programs / "cohort-data", "synth", "--contexts", "16", "--images-per-context", options.images // 16, "--size", "96",
                              "--channels", "3", *kind, "--out", folder])
            runs = common.in_turns({"Cohort": lambda: cohort_rate(folder, options), "DataLoader": lambda: torch_rate(folder, options.workers, options.seconds)},
                                   options.rounds)
            samples[codec] = runs
            lines.append([codec, *(f"{statistics.median(rates):,.0f}" for rates in runs.values()), f"{common.ratio(*runs.values()):.1f} ×"])
    what = f"normalised batches of {BATCH} images of 96×96×3 from the page cache, {options.workers} threads or worker processes, images/s"
    common.finish(options, what, ["codec", "Cohort", "DataLoader", "of DataLoader"], lines, samples)


if __name__ == "__main__":
    main()
