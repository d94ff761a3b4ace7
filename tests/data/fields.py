"""Makes fields/: images with a mask, flags and numbers each.

python3 fields.py COHORT_DATA, with pillow; COHORT_DATA is the program.

The stripes of the left and of the right half are classes of their own: mask transformers normalise the scores of
a pixel over the classes, and of two values that leaves little more than their order, with gradients of rounding.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy
import PIL.Image

FOLDER = pathlib.Path(__file__).parent / "fields"


def cohort_data(*arguments):
    subprocess.run([sys.argv[1], *map(str, arguments)], check=True)


def tell_the_halves_apart(file):
    values = numpy.asarray(PIL.Image.open(file)).copy()
    values[:, values.shape[1] // 2 :] *= 2
    PIL.Image.fromarray(values).save(file)


with tempfile.TemporaryDirectory() as made:
    drawn, files = pathlib.Path(made) / "drawn", pathlib.Path(made) / "files"
    size = ["--contexts", 4, "--images-per-context", 16, "--channels", 3, "--classes", 3, "--size", 32]
    cohort_data("synth", *size, "--field", "mask", "--field", "flags", "--field", "numbers", "--codec", "png",
                "--out", drawn)
    cohort_data("export", drawn, "--out", files)
    for file in sorted((files / "fields/mask").rglob("*.png")):
        tell_the_halves_apart(file)
    shutil.rmtree(FOLDER)
    cohort_data("convert", "manifest", files / "images.csv", "--id", "id", "--split", "split", "--label", "class",
                "--context", "context", "--mask", "mask", "--flags", "class0,class1,class2=flags",
                "--numbers", "brightness,contrast=numbers", "--codec", "png", "--license", "none: made by a program",
                "--out", FOLDER)
    description = json.loads((FOLDER / "dataset.json").read_text())
    description["fields"][0]["names"] = ["background", "left", "right"]
    (FOLDER / "dataset.json").write_text(json.dumps(description, indent=2) + "\n")
