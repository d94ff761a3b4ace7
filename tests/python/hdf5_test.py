"""HDF5 files that h5py wrote: shards of a dataset, and stacks of patches to convert."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import h5py
import numpy
import xxhash

TYPES = {"u8": "<u1", "u16": "<u2", "f32": "<f4"}


def run(folder, *arguments, ranks=2):
    command = [os.environ["MPIEXEC"], "-n", str(ranks), os.environ["COHORT_DATA_PROGRAM"], *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=folder)


class Folder(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)


class Shards(Folder):
    """Datasets written by docs/formats/dataset.md alone."""

    def write(self, type, splits=(("train", (5, 4)), ("test", (3,))), **images):
        random = numpy.random.default_rng(1)
        shape = (2, 3, 5)
        entries, self.images = [], {}
        for split, sizes in splits:
            shards = []
            for number, rows in enumerate(sizes):
                name = f"{split}-{number:05}.h5"
                pixels = random.integers(0, 250, (rows, *shape)).astype(TYPES[type])
                ids = [f"{split} {number} {row} é" for row in range(rows)]
                self.images |= dict(zip(ids, pixels))
                with h5py.File(self.folder / name, "w") as file:
                    file.create_dataset("images", data=pixels, **images)
                    file["checksum"] = numpy.array([xxhash.xxh3_64_intdigest(row.tobytes()) for row in pixels], "<u8")
                    file["id"] = numpy.array([name.encode() for name in ids])
                    file["labels/kind"] = numpy.array([row % 3 - 1 for row in range(rows)], "<i4")
                    file["context/site"] = numpy.full(rows, number, "<i4")
                content = (self.folder / name).read_bytes()
                shards.append({"file": name, "rows": rows, "bytes": len(content), "checksum": xxhash.xxh3_64_hexdigest(content)})
            entries.append({"name": split, "shards": shards})
        train = numpy.stack([pixels for name, pixels in self.images.items() if name.startswith("train")]).astype("float64")
        description = {
            "format": "cohort-dataset", "version": 1, "name": "by hand", "license": "", "source": "0" * 16,
            "images": {"type": type, "channels": 2, "height": 3, "width": 5}, "channels": ["a", "b"],
            "mean": train.mean((0, 2, 3)).tolist(), "deviation": train.std((0, 2, 3)).tolist(),
            "labels": [{"name": "kind", "classes": ["x", "y"]}], "contexts": [{"name": "site", "values": ["p", "q"]}],
            "splits": entries,
        }
        (self.folder / "dataset.json").write_text(json.dumps(description))

    def test_are_whole_and_have_their_images(self):
        for type in TYPES:
            with self.subTest(type=type):
                self.write(type)
                done = run(self.folder, "verify", ".")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("12 images in 3 shards, all whole", done.stdout)
                done = run(self.folder, "export", ".", "--format", "npy", "--out", type)
                self.assertEqual(done.returncode, 0, done.stderr)
                files = {path.stem: numpy.load(path) for path in (self.folder / type).rglob("*.npy")}
                self.assertEqual(set(files), set(self.images))
                for name, pixels in self.images.items():
                    numpy.testing.assert_array_equal(files[name], pixels, name)

    def test_that_do_not_follow_the_format_are_refused(self):
        for images, reason in (({"chunks": (1, 2, 3, 5)}, "contiguous"), ({"dtype": ">u2"}, "type")):
            with self.subTest(reason):
                self.write("u16", **images)
                done = run(self.folder, "verify", ".")
                self.assertEqual(done.returncode, 3, done.stderr)
                self.assertIn(reason, done.stdout + done.stderr)
                self.assertIn("train-00000.h5", done.stdout + done.stderr)


class Patches(Folder):
    """Files as CLAM writes them, an HDF5 dataset with pixels and one with coordinates for each slide."""

    def write(self, slide, count, coordinates=True, **storage):
        random = numpy.random.default_rng(count)
        pixels = random.integers(0, 256, (count, 6, 8, 3), dtype="uint8")
        places = numpy.stack([numpy.arange(count) * 256, numpy.full(count, 512)], 1)
        with h5py.File(self.folder / f"{slide}.h5", "w") as file:
            file.create_dataset("imgs", data=pixels, **storage)
            if coordinates:
                file.create_dataset("coords", data=places)
        return {(f"{slide}_x{x}_y{y}" if coordinates else f"{slide}_{i:06}"): image
                for i, (image, (x, y)) in enumerate(zip(pixels, places))}

    def rows(self, name):
        description = json.loads((self.folder / name / "dataset.json").read_text())
        contexts = {column["name"]: column["values"] for column in description["contexts"]}
        rows = {}
        for split in description["splits"]:
            for shard in split["shards"]:
                with h5py.File(self.folder / name / shard["file"]) as file:
                    for i, key in enumerate(file["id"].asstr()[:]):
                        named = {context: values[file["context/" + context][i]] for context, values in contexts.items()}
                        rows[key] = (split["name"], named, [file["labels/" + label["name"]][i] for label in description["labels"]],
                                     file["images"][i])
        return description, rows

    def test_of_slides_join_what_a_table_says_of_them(self):
        images = self.write("s1", 5, compression="gzip", chunks=(2, 6, 8, 3))
        images |= self.write("s2", 3, coordinates=False)
        images |= self.write("s3", 4, chunks=(1, 6, 8, 3), maxshape=(None, 6, 8, 3))
        (self.folder / "slides.csv").write_text("slide_id,tumour,hospital,split\ns3,no,B,test\ns1,yes,A,train\ns2,no,B,train\n")
        done = run(self.folder, "convert", "hdf5", "s1.h5", "s2.h5", "s3.h5", "--table", "slides.csv", "--label", "tumour",
                   "--context", "hospital", "--split", "split", "--out", "d")
        self.assertEqual(done.returncode, 0, done.stderr)
        description, rows = self.rows("d")
        self.assertEqual([context["name"] for context in description["contexts"]], ["hospital", "slide"])
        self.assertEqual(set(rows), set(images))
        for name, (split, contexts, labels, pixels) in rows.items():
            slide = name[:2]
            self.assertEqual(split, "test" if slide == "s3" else "train")
            self.assertEqual(contexts, {"hospital": "A" if slide == "s1" else "B", "slide": slide})
            self.assertEqual(description["labels"][0]["classes"][labels[0]], "yes" if slide == "s1" else "no")
            numpy.testing.assert_array_equal(pixels, images[name].transpose(2, 0, 1), name)

    def test_of_lines_for_one_slide_agree_or_are_refused(self):
        self.write("s1", 2)
        arguments = ("convert", "hdf5", "s1.h5", "--table", "slides.csv", "--label", "tumour", "--out", "d")
        (self.folder / "slides.csv").write_text("slide_id,tumour,note\ns1,no,a\ns2,no,b\ns1,yes,a\n")
        done = run(self.folder, *arguments)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(done.stderr.count("two lines contradict each other about 's1' in column 'tumour'"), 1, done.stderr)
        self.assertIn("slides.csv:2 and slides.csv:4", done.stderr)
        (self.folder / "slides.csv").write_text("slide_id,tumour,note\ns1,no,a\ns2,no,b\ns1,no,c\n")
        done = run(self.folder, *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("left out:\n  1 lines of the table without a file: s2\n", done.stdout)

    def test_of_one_name_in_two_folders_are_refused(self):
        for folder in "ab":
            (self.folder / folder).mkdir()
            self.write(f"{folder}/s1", 2)
        done = run(self.folder, "convert", "hdf5", "a/s1.h5", "b/s1.h5", "--out", "d")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(done.stderr.count("two files have the slide 's1'"), 1, done.stderr)
        self.assertIn("a/s1.h5 and b/s1.h5", done.stderr)

    def test_packed_with_a_filter_that_is_not_there_name_it(self):
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((1, 6, 8, 3))
        properties.set_filter(32004, h5py.h5z.FLAG_OPTIONAL)
        with h5py.File(self.folder / "s1.h5", "w") as file:
            dataset = h5py.h5d.create(file.id, b"imgs", h5py.h5t.NATIVE_UINT8, h5py.h5s.create_simple((1, 6, 8, 3)), properties)
            dataset.write_direct_chunk((0, 0, 0, 0), b"packed", filter_mask=0)
        done = run(self.folder, "convert", "hdf5", "s1.h5", "--out", "d")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(done.stderr.count("the values are packed with a filter that HDF5 does not have here: 32004"), 1, done.stderr)
        self.assertFalse((self.folder / "d").exists())

    def test_without_a_table_are_grouped_by_file(self):
        images = self.write("s1", 5) | self.write("s2", 3)
        done = run(self.folder, "convert", "hdf5", "s1.h5", "s2.h5", "--file-context", "wsi", "--hold-out-contexts", "2", "--out", "d")
        self.assertEqual(done.returncode, 0, done.stderr)
        description, rows = self.rows("d")
        self.assertEqual(len(rows), len(images))
        self.assertEqual({name: row[0] for name, row in rows.items() if name.startswith("s1")}.popitem()[1], "unseen_test")

    def test_what_is_wrong_is_named(self):
        self.write("s1", 2)
        with h5py.File(self.folder / "old.h5", "w") as file:
            file["imgs"] = numpy.zeros((2, 6, 8, 3), "int64")
        with h5py.File(self.folder / "link.h5", "w") as file:
            file["imgs"] = h5py.ExternalLink("s1.h5", "imgs")
        with h5py.File(self.folder / "outside.h5", "w") as file:
            file.create_dataset("imgs", (2, 6, 8, 3), "u1", external=[("/etc/hostname", 0, 288)])
        (self.folder / "slides.csv").write_text("slide_id,tumour\ns9,no\n")
        for arguments, code, message in (
                (["missing.h5"], 3, "there is no such file"), (["slides.csv"], 3, "H5Fopen failed"),
                (["s1.h5", "--images", "img"], 3, "s1.h5: img"), (["s1.h5", "--axes", "NCHWD"], 2, "'NCHWD' are no axes"),
                (["s1.h5", "--axes", "NHW"], 2, "the array has 4 dimensions: [2, 6, 8, 3]"),
                (["link.h5"], 3, "/imgs is not stored in the file itself"), (["outside.h5"], 3, "/imgs is not stored in the file itself"),
                (["old.h5"], 3, "the images are not of type uint8, uint16 or float32"),
                (["s1.h5", "--coordinates", "imgs"], 3, "/imgs does not have two coordinates for each of 2 images"),
                (["s1.h5", "--table", "slides.csv", "--label", "tumour"], 3, "the table has no line for 's1'")):
            with self.subTest(arguments):
                done = run(self.folder, "convert", "hdf5", *arguments, "--out", "d")
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertEqual(done.stderr.count(message), 1, done.stderr)
                self.assertFalse((self.folder / "d").exists())


if __name__ == "__main__":
    unittest.main()
