"""Fields, read with h5py, Pillow and json alone, as docs/formats/dataset.md says, against what was exported."""

import csv
import io
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import h5py
import numpy
import PIL.Image

PROGRAM = os.environ["COHORT_DATA_PROGRAM"]
KINDS = ["image", "mask", "boxes", "points", "tokens", "text", "numbers", "flags", "vector"]
TYPES = {"u8": "uint8", "u16": "uint16", "i32": "int32", "i64": "int64", "f32": "float32"}


def run(*arguments):
    subprocess.run([PROGRAM, *map(str, arguments)], check=True, capture_output=True)


def row_of(file, field, row):
    group = file["field"][field["name"]]
    if field["codec"] == "raw" and field["shape"][0] >= 0:
        return group["values"][row]
    offset = group["offset"]
    return group["values"][offset[row]:offset[row + 1]]


def rows_of(folder):
    """(id, {field: values}) of all rows, and the fields by name."""
    description = json.loads((folder / "dataset.json").read_text())
    fields = {field["name"]: field for field in description["fields"]}
    rows = {}
    for split in description["splits"]:
        for shard in split["shards"]:
            with h5py.File(folder / shard["file"]) as file:
                for row, name in enumerate(file["id"][:]):
                    rows[name.decode()] = {field: row_of(file, fields[field], row) for field in fields}
                for field in fields.values():
                    group = file["field"][field["name"]]
                    assert group["checksum"].shape == (shard["rows"],)
                    assert group["values"].chunks is None, "contiguous"
                    if field["codec"] == "raw":
                        assert group["values"].dtype == numpy.dtype(TYPES[field["type"]])
    return rows, fields


class Fields(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        wanted = [word for kind in KINDS for word in ("--field", kind)]
        run("synth", "--contexts", 2, "--images-per-context", 5, "--size", "12x10", *wanted, "--out", cls.folder / "d")
        run("export", cls.folder / "d", "--out", cls.folder / "files")
        with open(cls.folder / "files" / "images.csv", newline="", encoding="utf-8") as table:
            cls.table = {line["id"]: line for line in csv.DictReader(table)}
        cls.rows, cls.fields = rows_of(cls.folder / "d")

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def test_all_kinds_are_there_in_version_3(self):
        description = json.loads((self.folder / "d" / "dataset.json").read_text())
        self.assertEqual(description["version"], 3)
        self.assertEqual([field["kind"] for field in description["fields"]], KINDS)
        self.assertEqual(len(self.rows), 10)

    def test_masks_are_the_exported_pictures(self):
        for name, row in self.rows.items():
            picture = numpy.asarray(PIL.Image.open(self.folder / "files" / self.table[name]["mask"]))
            numpy.testing.assert_array_equal(row["mask"], picture)
            self.assertEqual(set(numpy.unique(picture)) | {0, 1}, {0, 1})

    def test_images_are_the_exported_pictures(self):
        for name, row in self.rows.items():
            picture = numpy.asarray(PIL.Image.open(self.folder / "files" / self.table[name]["image"]))
            numpy.testing.assert_array_equal(row["image"], picture.transpose(2, 0, 1))

    def test_boxes_and_points_are_those_of_the_table(self):
        for name, row in self.rows.items():
            for field, width in (("boxes", 5), ("points", 3)):
                places = json.loads(self.table[name][field])
                classes = self.fields[field]["names"]
                expected = [[*place[:-1], classes.index(place[-1])] for place in places]
                numpy.testing.assert_array_equal(row[field], numpy.float32(expected).reshape(-1, width))
            self.assertTrue((row["boxes"][:, :2] < row["boxes"][:, 2:4]).all())

    def test_texts_tokens_and_numbers_are_those_of_the_table(self):
        for name, row in self.rows.items():
            line = self.table[name]
            self.assertEqual(row["text"].tobytes().decode(), line["text"])
            self.assertEqual(row["tokens"].tolist(), [int(word) for word in line["tokens"].split()])
            numpy.testing.assert_array_equal(row["vector"], numpy.float32(line["vector"].split()))
            numpy.testing.assert_array_equal(row["numbers"], numpy.float32([line[each] for each in self.fields["numbers"]["names"]]))
            self.assertEqual(row["flags"].tolist(), [int(line[each]) for each in self.fields["flags"]["names"]])

    def test_png_masks_are_files_in_the_shard(self):
        run("convert", "manifest", self.folder / "files" / "images.csv", "--id", "id", "--context", "context", "--mask", "mask",
            "--field-codec", "mask=png", "--out", self.folder / "png")
        rows, _ = rows_of(self.folder / "png")
        for name, row in rows.items():
            picture = numpy.asarray(PIL.Image.open(io.BytesIO(row["mask"].tobytes())))
            numpy.testing.assert_array_equal(picture, self.rows[name]["mask"])


if __name__ == "__main__":
    unittest.main()
