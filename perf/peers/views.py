#!/usr/bin/env python3
"""DINO's ten crops of histology images beside torchvision's transforms on Pillow images, one process each, in turns.

    .deps/python/bin/python perf/peers/views.py --rounds 3
"""
import random
import statistics
import time

import numpy
import torch
from PIL import Image, ImageFilter, ImageOps
from torchvision import transforms

import common


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


def cohort_rate(options):
    rows = common.cohort_perf(options, ["views", "--seconds", options.seconds])
    return next(row["rate_images_s"] for row in rows if row["preset"] == "camelyon_dino")


def main():
    parser = common.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    options = parser.parse_args()
    samples = common.in_turns({"Cohort": lambda: cohort_rate(options), "torchvision": lambda: torchvision_rate(options.seconds)}, options.rounds)
    rates = [f"{statistics.median(runs):.0f}" for runs in samples.values()]
    common.finish(options, "the ten views of camelyon_dino of an image of 96×96×3, images/s of one thread", [*samples, "of torchvision"],
                  [[*rates, f"{common.ratio(*samples.values()):.1f} ×"]], samples)


if __name__ == "__main__":
    main()
