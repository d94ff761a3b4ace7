#!/usr/bin/env python3
"""DINO's ten crops of histology images beside torchvision's transforms on Pillow images, one process each, in turns.

    .deps/python/bin/python perf/compare_views.py --rounds 3
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import time
from pathlib import Path

import numpy
import torch
from PIL import Image, ImageFilter, ImageOps
from torchvision import transforms

ROOT = Path(__file__).resolve().parent.parent


class Blur:
    def __init__(self, probability):
        self.probability = probability

    def __call__(self, image):
        if random.random() >= self.probability:
            return image
        return image.filter(ImageFilter.GaussianBlur(radius=random.uniform(0.1, 2.0)))


def solarise(image):
    return ImageOps.solarize(image) if random.random() < 0.2 else image


def pipeline(size, scale, blur, *more):
    jitter = transforms.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
    return transforms.Compose([
        transforms.RandomResizedCrop(size, scale=scale, interpolation=transforms.InterpolationMode.BICUBIC), transforms.RandomHorizontalFlip(),
        transforms.RandomApply([jitter], p=0.8), transforms.RandomGrayscale(p=0.2), Blur(blur), *more, transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])


def torchvision_rate(seconds):
    torch.set_num_threads(1)
    image = Image.fromarray(numpy.random.default_rng(1).integers(0, 256, (96, 96, 3), dtype="uint8"))
    views = [pipeline(96, (0.4, 1.0), 1.0), pipeline(96, (0.4, 1.0), 0.1, solarise)] + [pipeline(32, (0.05, 0.4), 0.5)] * 8
    begin, images = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        for view in views:
            view(image)
        images += 1
    return images / (time.perf_counter() - begin)


def cohort_rate(program, seconds):
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    output = subprocess.run([program, "views", "--seconds", str(seconds), "--json"], env=environment, capture_output=True, text=True, check=True).stdout
    rows = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return next(row["rate_images_s"] for row in rows if row.get("preset") == "camelyon_dino")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/bin/cohort-perf")
    options = parser.parse_args()
    pairs = [(cohort_rate(options.program, options.seconds), torchvision_rate(options.seconds)) for _ in range(options.rounds)]
    ours, theirs = zip(*pairs)
    print("camelyon_dino, 96 x 96 x 3, 2 + 8 views, images/s of one thread")
    print(f"Cohort       {statistics.median(ours):8.0f}")
    print(f"torchvision  {statistics.median(theirs):8.0f}")
    print(f"ratio        {statistics.median(a / b for a, b in pairs):8.2f}")


if __name__ == "__main__":
    main()
