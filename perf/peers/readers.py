#!/usr/bin/env python3
"""Conversion of zarr and whole slides beside Python's readers of these formats, in turns.

    scripts/bootstrap.sh --samples && .deps/python/bin/python perf/peers/readers.py --copies 16

Cohort converts on --ranks ranks: starts its program, reads, writes, syncs, reads back and compares checksums. Python does one of two things with the same
tiles, [3, 224, 224] as Cohort keeps them: "reads" them into memory and does no more, or "writes" them, too, into one HDF5 file a process with h5py, and syncs
it, as a script that makes a data set does. It uses zarr and openslide-python, in one process and in as many as there are ranks, each
with tiles of its own. Files that are read are in the page cache, those that are written go to the disk of --dir.
"""
import itertools
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import struct
import tempfile
import time
from pathlib import Path

import h5py
import numpy
import openslide
import PIL.Image
import zarr

import common

SAMPLES = common.ROOT / "data/samples/slides"
TILE = 224
FIELD = 1080  # pixels along a side
BAND = 8      # rows of tiles that a process takes of a slide at a time


def zarr_fields(folder, copies):
    """Fields as a microscope writes them: 3 channels of 1080 × 1080 u16, a chunk a channel, blosc. 16 differ."""
    random = numpy.random.default_rng(0)
    for copy in range(copies):
        if copy >= 16:
            shutil.copytree(folder / f"{copy % 16}.zarr", folder / f"{copy}.zarr", copy_function=os.link)
            continue
        smooth = numpy.cumsum(numpy.cumsum(random.normal(size=(3, FIELD, FIELD)), 1), 2)
        values = ((smooth - smooth.min()) / numpy.ptp(smooth) * 4000 + random.integers(0, 16, smooth.shape)).astype("u2")
        group = zarr.open_group(folder / f"{copy}.zarr", mode="w", zarr_format=2)
        array = group.create_array("0", shape=values.shape, chunks=(1, FIELD, FIELD), dtype="u2", compressors=zarr_codec(), chunk_key_encoding={"name": "v2", "separator": "/"})
        array[...] = values
        axes = [{"name": axis} for axis in "cyx"]
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
    return sorted(folder.iterdir())


def zarr_codec():
    import numcodecs
    return numcodecs.Blosc("lz4", 5, numcodecs.Blosc.SHUFFLE)


def jpeg_slide(folder, copies):
    """A slide as large as one of tissue often is, of the stored tiles of a sample: 240 × 240 pixels each, JPEG. Each is there once, however often the slide has it."""
    sample = SAMPLES / "cmu-1-small-region.svs"
    content = sample.read_bytes()
    with PIL.Image.open(sample) as image:
        tags = dict(image.tag_v2)
    width, tile, tables, text = tags[256], tags[322], tags[347], tags[270].encode()
    across = -(-width // tile)
    whole = [(offset, bytes) for number, (offset, bytes) in enumerate(zip(tags[324], tags[325])) if number % across < width // tile]
    rows, columns = 8 * copies, 10 * copies
    used = [whole[number % len(whole)] for number in range(rows * columns)]
    after = len(content)  # the sample's own bytes, then what the tags of the slide point to
    blobs = [struct.pack("<3H", 8, 8, 8), text + b"\0", struct.pack(f"<{len(used)}I", *(offset for offset, _ in used)),
             struct.pack(f"<{len(used)}I", *(bytes for _, bytes in used)), tables]
    places = [after + sum(len(blob) + len(blob) % 2 for blob in blobs[:number]) for number in range(len(blobs) + 1)]
    short, long, letters, opaque = 3, 4, 2, 7
    entries = [(256, long, 1, columns * tile), (257, long, 1, rows * tile), (258, short, 3, places[0]), (259, short, 1, 7), (262, short, 1, 2),
               (270, letters, len(text) + 1, places[1]), (277, short, 1, 3), (284, short, 1, 1), (322, long, 1, tile), (323, long, 1, tile),
               (324, long, len(used), places[2]), (325, long, len(used), places[3]), (347, opaque, len(tables), places[4])]
    path = folder / "tissue.svs"
    with path.open("wb") as file:
        file.write(content[:4] + struct.pack("<I", places[-1]) + content[8:])
        for blob in blobs:
            file.write(blob + b"\0" * (len(blob) % 2))
        file.write(struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", 0))
    return [path]


def jpeg2000_slides(folder, copies):
    for copy in range(copies):
        (folder / f"{copy}.svs").symlink_to(SAMPLES / "tcga-cr-7395-01a-01-ts1.svs")
    return sorted(folder.iterdir())


def offsets(pixels):
    return range(0, pixels - TILE + 1, TILE)


def fields_by_tile(path):
    array = zarr.open_group(path, mode="r")["0"]
    return (array[:, y:y + TILE, x:x + TILE] for y in offsets(FIELD) for x in offsets(FIELD))


def fields_whole(path):
    values = zarr.open_group(path, mode="r")["0"][...]
    return (values[:, y:y + TILE, x:x + TILE].copy() for y in offsets(FIELD) for x in offsets(FIELD))


def bands(path):
    """Parts of a slide that processes share."""
    width, height = openslide.OpenSlide(path).dimensions
    rows = offsets(height)
    return [(path, offsets(width), rows[first:first + BAND]) for first in range(0, len(rows), BAND)]


def tiles_of_band(band):
    path, columns, rows = band
    slide = openslide.OpenSlide(path)
    for y in rows:
        for x in columns:
            yield numpy.asarray(slide.read_region((x, y), 0, (TILE, TILE)).convert("RGB")).transpose(2, 0, 1)


def times():
    """Seconds: of the clock, and of processors for this program and those that it started."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(part.ru_utime + part.ru_stime for part in used)


def speed_since(begin, tiles, end):
    """Tiles a second, and milliseconds of processors a tile, on which other programs that run have less influence."""
    return tiles / (end[0] - begin[0]), 1e3 * (end[1] - begin[1]) / tiles


def work(job):
    """One process of Python. `file`: where tiles go; None: nowhere. Returns their number."""
    read, parts, file, kind = job
    tiles = itertools.chain.from_iterable(map(read, parts))
    if file is None:
        return sum(1 for tile in map(numpy.ascontiguousarray, tiles))
    count = 0
    with h5py.File(file, "w") as out:
        images = out.create_dataset("images", (1 << 20, 3, TILE, TILE), kind)  # contiguous: only what is written takes room
        for count, tile in enumerate(tiles, 1):
            images[count - 1] = tile
    with open(file, "rb") as written:
        os.fsync(written.fileno())
    return count


def python_speed(read, parts, processes, folder, kind):
    files = [folder / f"python-{number}.h5" if folder else None for number in range(processes)]
    jobs = [(read, parts[number::processes], files[number], kind) for number in range(processes)]
    begin = times()
    if processes == 1:
        tiles = work(jobs[0])
    else:
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            tiles = sum(pool.map(work, jobs, chunksize=1))
            pool.close()
            pool.join()
    speed = speed_since(begin, tiles, times())
    for file in filter(None, files):
        file.unlink()
    return speed


def cohort_speed(options, arguments, out):
    command = ["mpirun", "-n", options.ranks, options.programs / "cohort-data", "convert", *arguments, "--tile", TILE, "--out", out, "--overwrite"]
    begin = times()
    common.output_of(command, options.ranks)
    end = times()
    tiles = sum(shard["rows"] for split in json.loads((out / "dataset.json").read_text())["splits"] for shard in split["shards"])
    shutil.rmtree(out)
    return speed_since(begin, tiles, end)


def main():
    parser = common.parser(__doc__)
    parser.add_argument("--ranks", type=int, default=2, help="of Cohort, and processes of Python")
    parser.add_argument("--copies", type=int, default=16, help="files: 24 fields of zarr and one slide of JPEG 2000 for each; the slide of JPEG grows with its square")
    parser.add_argument("--dir", type=Path, default=common.ROOT / "build", help="where files are written")
    parser.add_argument("--only", choices=["zarr, by tile", "zarr, whole", "slides, JPEG", "slides, JPEG 2000"], help="one line of the table")
    options = parser.parse_args()
    samples, lines = {}, []
    with tempfile.TemporaryDirectory(dir=options.dir) as temporary:
        folder = Path(temporary)
        kinds = {"zarr": lambda at: zarr_fields(at, 24 * options.copies), "JPEG": lambda at: jpeg_slide(at, options.copies), "JPEG 2000": lambda at: jpeg2000_slides(at, options.copies)}
        tables = {"zarr, by tile": ("zarr", fields_by_tile), "zarr, whole": ("zarr", fields_whole),
                  "slides, JPEG": ("JPEG", tiles_of_band), "slides, JPEG 2000": ("JPEG 2000", tiles_of_band)}
        files = {}
        for name, (kind, read) in tables.items():
            if options.only not in (None, name):
                continue
            if kind not in files:
                (folder / kind).mkdir()
                files[kind] = kinds[kind](folder / kind)
            is_zarr = kind == "zarr"
            arguments = ["zarr", *files[kind]] if is_zarr else ["slides", *files[kind], "--tissue", 0]
            parts = files[kind] if is_zarr else [band for path in files[kind] for band in bands(path)]
            programs = {"Cohort": lambda: cohort_speed(options, arguments, folder / "out")}
            for does, where in ("reads", None), ("writes", folder):
                for processes in 1, options.ranks:
                    programs[f"Python {does}, {processes}"] = lambda processes=processes, where=where: python_speed(read, parts, processes, where, "u2" if is_zarr else "u1")
            runs = common.in_turns(programs, options.rounds)
            samples[name] = runs
            lines.append([name, *(cell(runs["Cohort"], speeds, program) for program, speeds in runs.items())])
    what = (f"tiles of {TILE} × {TILE} a second, {options.ranks} ranks of cohort-data convert beside zarr and openslide-python; in brackets how much faster Cohort is, "
            "and milliseconds of processors a tile")
    heading = ["files", "Cohort", "Python reads", f"… {options.ranks} processes", "Python reads and writes", f"… {options.ranks} processes"]
    common.finish(options, what, heading, lines, samples)


def cell(ours, speeds, program):
    rates, milliseconds = zip(*speeds)
    faster = "" if program == "Cohort" else f"{common.ratio([rate for rate, _ in ours], rates):.1f} ×, "
    return f"{statistics.median(rates):,.0f} ({faster}{statistics.median(milliseconds):.2f} ms)"


if __name__ == "__main__":
    main()
