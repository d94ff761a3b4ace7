#!/usr/bin/env python3
"""Conversion of zarr and whole slides beside Python's readers of these formats, in turns.

    scripts/bootstrap.sh --samples && .deps/python/bin/python perf/peers/readers.py --copies 8

Cohort converts on --ranks ranks: reads, writes, reads back and compares checksums, and starts its program. Python reads the same tiles
into memory and does no more: with zarr, which unpacks chunks on threads of its own, and with openslide-python, in one process and in as many as
there are ranks. Both lose nothing to the disk: the files are in the page cache.
"""
import json
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

import numpy
import openslide
import zarr

import common

SAMPLES = common.ROOT / "data/samples"
TILE = 224


def zarr_fields(folder, copies):
    """Fields as a microscope writes them: 3 channels of 1080 × 1080 u16, a chunk a channel, blosc."""
    random = numpy.random.default_rng(0)
    for copy in range(copies):
        smooth = numpy.cumsum(numpy.cumsum(random.normal(size=(3, 1080, 1080)), 1), 2)
        values = ((smooth - smooth.min()) / numpy.ptp(smooth) * 4000 + random.integers(0, 16, smooth.shape)).astype("u2")
        group = zarr.open_group(folder / f"{copy}.zarr", mode="w", zarr_format=2)
        array = group.create_array("0", shape=values.shape, chunks=(1, 1080, 1080), dtype="u2", compressors=zarr_codec(), chunk_key_encoding={"name": "v2", "separator": "/"})
        array[...] = values
        axes = [{"name": axis} for axis in "cyx"]
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
    return sorted(folder.iterdir())


def zarr_codec():
    import numcodecs
    return numcodecs.Blosc("lz4", 5, numcodecs.Blosc.SHUFFLE)


def slides(folder, copies):
    source = SAMPLES / "slides/tcga-cr-7395-01a-01-ts1.svs"
    for copy in range(copies):
        (folder / f"{copy}.svs").symlink_to(source)
    return sorted(folder.iterdir())


def read_zarr(path):
    array = zarr.open_group(path, mode="r")["0"]
    return sum(int(array[:, y:y + TILE, x:x + TILE][0, 0, 0] >= 0) for y in range(0, 1080 - TILE + 1, TILE) for x in range(0, 1080 - TILE + 1, TILE))


def read_zarr_whole(path):
    values = zarr.open_group(path, mode="r")["0"][...]
    return sum(int(values[:, y:y + TILE, x:x + TILE].copy()[0, 0, 0] >= 0) for y in range(0, 1080 - TILE + 1, TILE) for x in range(0, 1080 - TILE + 1, TILE))


def read_slide(path):
    slide = openslide.OpenSlide(path)
    width, height = slide.dimensions
    tiles = 0
    for y in range(0, height - TILE + 1, TILE):
        for x in range(0, width - TILE + 1, TILE):
            tiles += numpy.asarray(slide.read_region((x, y), 0, (TILE, TILE)).convert("RGB")).shape[0] // TILE
    return tiles


def python_rate(read, paths, processes):
    begin = time.perf_counter()
    if processes == 1:
        tiles = sum(map(read, paths))
    else:
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            tiles = sum(pool.imap_unordered(read, paths))
    return tiles / (time.perf_counter() - begin)


def cohort_rate(options, arguments, out):
    command = ["mpirun", "-n", options.ranks, options.programs / "cohort-data", "convert", *arguments, "--tile", TILE, "--out", out, "--overwrite"]
    begin = time.perf_counter()
    common.output_of(command, options.ranks)
    seconds = time.perf_counter() - begin
    return sum(shard["rows"] for split in json.loads((out / "dataset.json").read_text())["splits"] for shard in split["shards"]) / seconds


def main():
    parser = common.parser(__doc__)
    parser.add_argument("--ranks", type=int, default=2, help="of Cohort, and processes of Python")
    parser.add_argument("--copies", type=int, default=16, help="files of each kind")
    options = parser.parse_args()
    samples, lines = {}, []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in "zarr", "slides":
            (folder / name).mkdir()
        stores, images = zarr_fields(folder / "zarr", options.copies), slides(folder / "slides", options.copies)
        for name, arguments, readers, paths in (("zarr", ["zarr", *stores], {"by tile": read_zarr, "whole": read_zarr_whole}, stores),
                                                ("slides", ["slides", *images, "--tissue", 0], {"by tile": read_slide}, images)):
            for how, read in readers.items():
                runs = common.in_turns({"Cohort": lambda: cohort_rate(options, arguments, folder / "out"),
                                        "one process": lambda: python_rate(read, paths, 1),
                                        f"{options.ranks} processes": lambda: python_rate(read, paths, options.ranks)}, options.rounds)
                samples[f"{name}, {how}"] = runs
                ours, *theirs = runs.values()
                lines.append([name, how, *(f"{statistics.median(rates):,.0f}" for rates in runs.values()), *(f"{common.ratio(ours, rates):.1f} ×" for rates in theirs)])
    what = f"tiles of {TILE} × {TILE} a second, {options.ranks} ranks of cohort-data convert beside zarr and openslide-python"
    common.finish(options, what, ["files", "Python reads", "Cohort", "Python", f"{options.ranks} of it", "of Python", f"of {options.ranks}"], lines, samples)


if __name__ == "__main__":
    main()
