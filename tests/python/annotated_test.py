"""Boxes and masks of COCO's JSON, as h5py reads them from shards, against the JSON itself and pycocotools' masks."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import h5py
import numpy

PROGRAM = os.environ["COHORT_DATA_PROGRAM"]
FIXTURES = pathlib.Path(__file__).parent.parent / "data" / "annotated"


def fields_of(folder):
    """{id: {field: values}} of all rows, each of its shape."""
    description = json.loads((folder / "dataset.json").read_text())
    rows = {}
    for shard in description["splits"][0]["shards"]:
        with h5py.File(folder / shard["file"]) as file:
            boxes, masks = file["field/boxes"], file["field/mask"]
            for row, name in enumerate(file["id"][:]):
                begin, end = boxes["offset"][row], boxes["offset"][row + 1]
                rows[name.decode()] = {"boxes": boxes["values"][begin:end], "mask": masks["values"][row]}
    return rows, {field["name"]: field for field in description["fields"]}


class Annotated(unittest.TestCase):
    def test_coco(self):
        source = FIXTURES / "coco" / "cells.json"
        coco = json.loads(source.read_text())
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "d"
            subprocess.run([PROGRAM, "convert", "coco", source, "--masks", "instance", "--out", out], check=True, capture_output=True)
            rows, fields = fields_of(out)
        self.assertEqual(fields["boxes"]["names"], [category["name"] for category in coco["categories"]])
        self.assertEqual(fields["mask"]["type"], "i32")
        order = [category["id"] for category in coco["categories"]]
        with numpy.load(FIXTURES / "expected.npz") as expected:
            for number, image in enumerate(coco["images"]):
                boxes = [
                    [each["bbox"][0], each["bbox"][1], each["bbox"][0] + each["bbox"][2], each["bbox"][1] + each["bbox"][3], order.index(each["category_id"])]
                    for each in coco["annotations"] if each["image_id"] == image["id"] and not each["iscrowd"]]
                row = rows[image["file_name"]]
                numpy.testing.assert_array_equal(row["boxes"], numpy.float32(boxes).reshape(-1, 5))
                numpy.testing.assert_array_equal(row["mask"], expected[f"instances_{number}"])


if __name__ == "__main__":
    unittest.main()
