#!/usr/bin/env python3
"""Cuts the tissue of the samples into tiles and says which types of nuclei each of them shows, for docs/results.md.

usage: .deps/python/bin/python scripts/tissue_tiles.py data/samples/tissue OUT

OUT/tiles.csv: path, strip (five from left to right), split (the fourth strip is val, the fifth test), and a flag for each type.
"""

import csv
import pathlib
import sys

import numpy
import PIL.Image

TILE, STRIPS, TYPES = 75, 5, ("first", "second", "third")

tissue, out = map(pathlib.Path, sys.argv[1:])
image = numpy.array(PIL.Image.open(tissue / "images/hgsc_nest.png").convert("RGB"))
types = numpy.load(tissue / "types/hgsc_nest.npy")
out.mkdir(parents=True, exist_ok=True)
with open(out / "tiles.csv", "w", newline="", encoding="utf-8") as file:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["path", "strip", "split", *TYPES])
    for top in range(0, image.shape[0], TILE):
        for left in range(0, image.shape[1], TILE):
            strip = left * STRIPS // image.shape[1]
            name = f"{top:04}-{left:04}.png"
            place = slice(top, top + TILE), slice(left, left + TILE)
            PIL.Image.fromarray(image[place]).save(out / name)
            split = {STRIPS - 2: "val", STRIPS - 1: "test"}.get(strip, "train")
            table.writerow([name, f"strip_{strip + 1}", split, *(int((types[place] == number + 1).any()) for number in range(len(TYPES)))])
