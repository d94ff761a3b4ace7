"""The commands of docs/samples.md over real images, against what Python's readers of the formats give."""

import csv
import json
import os
import pathlib
import re
import shlex
import subprocess
import tempfile
import unittest

import h5py
import nibabel
import numpy
import openslide
import PIL.Image
import pydicom
import pydicom.pixels
import tifffile
import zarr

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "data" / "samples"
PROGRAM = os.environ["COHORT_DATA_PROGRAM"]


def commands():
    """{what comes out: command} of the document."""
    text = (ROOT / "docs" / "samples.md").read_text(encoding="utf-8")
    lines = [shlex.split(line) for line in text.splitlines() if line.startswith("cohort-data ")]
    return {pathlib.Path(line[line.index("--out") + 1]).name: line for line in lines}


def box_of(mask, types, number):
    """x0, y0, x1, y1 and class of an instance."""
    inside = mask == number
    y, x = numpy.nonzero(inside)
    return [x.min(), y.min(), x.max() + 1, y.max() + 1, numpy.bincount(types[inside]).argmax()]


def field_of(file, name, row):
    group = file["field"][name]
    if "offset" not in group:
        return group["values"][row]
    offset = group["offset"]
    return group["values"][offset[row]:offset[row + 1]]


def rows_of(folder):
    """{id: (image, {field: values})} of all rows."""
    rows = {}
    for split in json.loads((folder / "dataset.json").read_text())["splits"]:
        for shard in split["shards"]:
            with h5py.File(folder / shard["file"]) as file:
                fields = list(file["field"]) if "field" in file else []
                for row, name in enumerate(file["id"][:]):
                    rows[name.decode()] = file["images"][row], {field: field_of(file, field, row) for field in fields}
    return rows


def picture(path, mode):
    return numpy.asarray(PIL.Image.open(path).convert(mode))


@unittest.skipUnless(SAMPLES.is_dir(), "scripts/bootstrap.sh --samples fetches them")
class Samples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        (cls.folder / "data").mkdir()
        (cls.folder / "data" / "samples").symlink_to(SAMPLES)
        cls.commands = commands()

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def run_command(self, name):
        command = [PROGRAM, *self.commands[name][1:]]
        result = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)

    def converted(self, name):
        self.run_command(name)
        return rows_of(self.folder / "data" / name)

    def description(self, name):
        return json.loads((self.folder / "data" / name / "dataset.json").read_text())

    def same(self, ours, theirs, what):
        numpy.testing.assert_array_equal(ours, theirs, err_msg=str(what))

    def test_films_and_lungs(self):
        rows = self.converted("films")
        self.assertEqual(len(rows), 299)
        for name, (image, fields) in rows.items():
            self.same(image[0], picture(SAMPLES / "films/images/test/NORMAL" / name, "L"), name)
            mask = picture((SAMPLES / "films/lungs/test/NORMAL" / name).with_suffix(".png"), "L")
            self.same(fields["lungs"], mask // 255, name)
        with open(self.folder / "data/films/skipped.csv", newline="", encoding="utf-8") as skipped:
            self.assertEqual(len(list(csv.DictReader(skipped))), 20)

    def test_nuclei_of_several_experiments(self):
        rows = self.converted("nuclei")
        self.assertEqual(len(rows), 23)
        for name, (image, fields) in rows.items():
            self.same(image[0], tifffile.imread(SAMPLES / "nuclei/images" / name), name)
            red, green, blue = numpy.moveaxis(picture((SAMPLES / "nuclei/masks" / name).with_suffix(".png"), "RGB").astype("i4"), -1, 0)
            self.same(fields["nuclei"], red + 256 * green + 65536 * blue, name)
        self.assertEqual([c["name"] for c in self.description("nuclei")["contexts"]], ["experiment"])

    def test_nuclei_of_three_types(self):
        [(image, fields)] = self.converted("tissue").values()
        self.same(image, picture(SAMPLES / "tissue/images/hgsc_nest.png", "RGB").transpose(2, 0, 1), "image")
        for field in "types", "nuclei":
            self.same(fields[field], numpy.load(SAMPLES / f"tissue/{field}/hgsc_nest.npy"), field)
        self.assertEqual(len(numpy.unique(fields["nuclei"])) - 1, 1294)
        expected = [box_of(fields["nuclei"], fields["types"], number) for number in numpy.unique(fields["nuclei"])[1:]]
        self.same(fields["boxes"], numpy.array(expected, "f4"), "boxes")

    def test_shapes_and_sentences(self):
        self.run_command("words.txt")
        words = {word: i for i, word in enumerate((self.folder / "data/words.txt").read_text().splitlines())}
        rows = self.converted("shapes")
        with open(SAMPLES / "shapes/shapes.csv", newline="", encoding="utf-8") as table:
            lines = list(csv.DictReader(table))
        self.assertEqual(len(rows), len(lines))
        for line in lines:
            image, fields = rows[line["path"]]
            self.assertEqual(fields["report"].tobytes().decode(), line["report"])
            tokens = ["[CLS]", *re.findall(r"\w+|[.]", line["report"].lower()), "[SEP]"]
            self.assertEqual(fields["report_tokens"].tolist(), [words[token] for token in tokens])
            self.same(image, picture(SAMPLES / "shapes" / line["path"], "RGB").transpose(2, 0, 1), line["path"])

    def test_cores_of_six_channels(self):
        rows = self.converted("cores")
        level = zarr.open_array(SAMPLES / "cores/NSCLC4301.zarr/0", mode="r")[:]
        self.assertEqual(len(rows), (level.shape[1] // 64) * (level.shape[2] // 64))
        for name, (image, _) in rows.items():
            y, x = map(int, re.fullmatch(r".*_y(\d+)_x(\d+)", name).groups())
            self.same(image, level[:, y:y + 64, x:x + 64], name)
        self.assertEqual(self.description("cores")["channels"], ["DAPI", "E-cadherin", "Vimentin", "Pan-Cytokeratin", "CD20", "CD4"])

    def test_cell_painting(self):
        rows = self.converted("cells")
        self.assertEqual(len(rows), 12)
        for path in (SAMPLES / "cells").glob("*.tif"):
            with tifffile.TiffFile(path) as file:
                for number, series in enumerate(file.series):
                    self.same(rows[f"{path.name}/{number}"][0], series.asarray(), path.name)
        self.assertEqual([len(context["values"]) for context in self.description("cells")["contexts"]], [2])

    def test_tiles_of_slides(self):
        rows = self.converted("slides")
        slides = {path.stem: openslide.OpenSlide(path) for path in (SAMPLES / "slides").iterdir()}
        self.assertEqual({name.rsplit("_", 2)[0] for name in rows}, set(slides))
        for name, (image, _) in rows.items():
            slide, x, y = re.fullmatch(r"(.*)_x(\d+)_y(\d+)", name).groups()
            tile = numpy.asarray(slides[slide].read_region((int(x), int(y)), 0, (224, 224)))
            self.assertEqual(tile[..., 3].min(), 255, "all of it was scanned")
            self.same(image, tile[..., :3].transpose(2, 0, 1), name)

    def test_scans(self):
        rows = self.converted("scans")
        self.assertEqual(len(rows), 7)
        for name, (image, _) in rows.items():
            self.same(image[0], pydicom.dcmread(SAMPLES / "scans" / name).pixel_array, name)

    def test_captures(self):
        rows = self.converted("captures")
        for path in (SAMPLES / "captures").iterdir():
            frames = pydicom.pixels.pixel_array(path).reshape(-1, 100, 100, 3).transpose(0, 3, 1, 2)
            ours = [image for name, (image, _) in sorted(rows.items()) if name.startswith(path.name)]
            self.assertEqual(len(ours), len(frames), path.name)
            difference = numpy.abs(numpy.stack(ours).astype("i4") - frames).max()
            self.assertLessEqual(difference, 1 if "+cr" in path.name else 0, path.name)  # JPEG: decoders round differently

    def test_volumes(self):
        rows = self.converted("volumes")
        values = nibabel.as_closest_canonical(nibabel.load(SAMPLES / "volumes/example4d.nii.gz")).get_fdata()
        self.assertEqual(len(rows), values.shape[2] * values.shape[3])
        for name, (image, _) in rows.items():
            time, slice_ = map(int, re.fullmatch(r".*_t(\d+)_s(\d+)", name).groups())
            seen = values[:, ::-1, slice_, time].T  # left is left, front is up
            self.same(image[0], seen.astype("f4"), name)


if __name__ == "__main__":
    unittest.main()
