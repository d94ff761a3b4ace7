"""The committed dataset, read with h5py, numpy and json alone: docs/formats/dataset.md says all that is needed."""

import json
import os
import pathlib
import unittest

import h5py
import numpy

FOLDER = pathlib.Path(os.environ["COHORT_DATASET"])
DESCRIPTION = json.loads((FOLDER / "dataset.json").read_text())
TYPES = {"u8": "uint8", "u16": "uint16", "f32": "float32"}


def shards(split):
    for shard in split["shards"]:
        yield shard, h5py.File(FOLDER / shard["file"], "r")


def column(split, name):
    return numpy.concatenate([file[name][:] for _, file in shards(split)])


class Dataset(unittest.TestCase):
    def test_images_have_the_layout_of_the_description(self):
        layout = DESCRIPTION["images"]
        image = (layout["channels"], layout["height"], layout["width"])
        for split in DESCRIPTION["splits"]:
            for shard, file in shards(split):
                self.assertEqual(file["images"].shape, (shard["rows"], *image), shard["file"])
                self.assertEqual(file["images"].dtype, numpy.dtype(TYPES[layout["type"]]), shard["file"])
                self.assertIsNone(file["images"].chunks, "contiguous: raw offsets can be read")

    def test_mean_and_deviation_are_those_of_the_first_split(self):
        images = column(DESCRIPTION["splits"][0], "images").astype("float64")
        numpy.testing.assert_allclose(DESCRIPTION["mean"], images.mean((0, 2, 3)), rtol=1e-6)
        numpy.testing.assert_allclose(DESCRIPTION["deviation"], images.std((0, 2, 3)), rtol=1e-6)

    def test_every_row_has_labels_contexts_and_an_id_of_its_own(self):
        ids = []
        for split in DESCRIPTION["splits"]:
            for label in DESCRIPTION["labels"]:
                values = column(split, "labels/" + label["name"])
                self.assertTrue(((values >= -1) & (values < len(label["classes"]))).all())
            for context in DESCRIPTION["contexts"]:
                values = column(split, "context/" + context["name"])
                self.assertTrue(((values >= 0) & (values < len(context["values"]))).all())
            ids += column(split, "id").tolist()
        self.assertEqual(len(set(ids)), len(ids))
        self.assertEqual(len(ids), sum(s["rows"] for split in DESCRIPTION["splits"] for s in split["shards"]))

    def test_rows_of_a_shard_are_sorted_by_context(self):
        first = "context/" + DESCRIPTION["contexts"][0]["name"]
        for split in DESCRIPTION["splits"]:
            for shard, file in shards(split):
                self.assertTrue((numpy.diff(file[first][:]) >= 0).all(), shard["file"])


if __name__ == "__main__":
    unittest.main()
