"""Tar shards as Python's tarfile writes them, in each of its formats, converted and read with h5py."""

import io
import json
import os
import pathlib
import subprocess
import tarfile
import tempfile
import unittest

import h5py
import numpy
from PIL import Image


def add(archive, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


class WebDataset(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def convert(self, *arguments):
        command = [os.environ["MPIEXEC"], "-n", "2", os.environ["COHORT_DATA_PROGRAM"], "convert", "webdataset", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=self.folder)

    def write(self, name, format, start, count, prefix):
        random = numpy.random.default_rng(start)
        images = {}
        with tarfile.open(self.folder / name, "w", format=format) as archive:
            add(archive, "README.txt", b"no sample")
            for i in range(start, start + count):
                key = f"{prefix}{i:06}"
                images[key] = random.integers(0, 256, (5, 7, 3), dtype="uint8")
                add(archive, key + ".cls", f"{i % 3}\n".encode())
                add(archive, key + ".json", json.dumps({"site": f"site {i % 2}", "age": i if i % 2 else None}).encode())
                add(archive, key + ".img.png", png(images[key]))
        return images

    def test_samples_of_all_formats(self):
        long = "a/" + "very_long_folder_name/" * 8  # beyond ustar's 100 characters
        images = self.write("a.tar", tarfile.USTAR_FORMAT, 0, 5, "")
        images |= self.write("b.tar", tarfile.GNU_FORMAT, 5, 4, long)
        images |= self.write("c.tar", tarfile.PAX_FORMAT, 9, 3, long + "größer_")
        done = self.convert("a.tar", "b.tar", "c.tar", "--label", "cls=grade", "--label", "json:age=age", "--context", "json:site=site",
                            "--context", "archive", "--out", "data")
        self.assertEqual(done.returncode, 0, done.stderr)

        description = json.loads((self.folder / "data/dataset.json").read_text())
        contexts = {column["name"]: column["values"] for column in description["contexts"]}
        classes = {column["name"]: column["classes"] for column in description["labels"]}
        seen = {}
        for shard in description["splits"][0]["shards"]:
            with h5py.File(self.folder / "data" / shard["file"]) as file:
                for i, key in enumerate(file["id"].asstr()[:]):
                    number = int(key[-6:])
                    seen[key] = file["images"][i]
                    self.assertEqual(classes["grade"][file["labels/grade"][i]], str(number % 3))
                    age = file["labels/age"][i]
                    self.assertEqual(classes["age"][age] if age >= 0 else None, str(number) if number % 2 else None)
                    self.assertEqual(contexts["site"][file["context/site"][i]], f"site {number % 2}")
                    self.assertEqual(contexts["archive"][file["context/archive"][i]], "a" if number < 5 else "b" if number < 9 else "c")
        self.assertEqual(set(seen), set(images))
        for key, pixels in images.items():
            self.assertTrue((seen[key] == pixels.transpose(2, 0, 1)).all(), key)

    def test_what_is_wrong_is_named(self):
        self.write("a.tar", tarfile.PAX_FORMAT, 0, 2, "")
        whole = (self.folder / "a.tar").read_bytes()
        (self.folder / "cut.tar").write_bytes(whole[:2000])
        (self.folder / "no.tar").write_bytes(b"x" * 2048)
        for arguments, message in ((["cut.tar"], "the tar archive cannot be read: it ends too early"), (["no.tar"], "it is no tar archive"),
                                   (["a.tar", "--label", "class"], "the sample has no file '.class', which --label asks for")):
            done = self.convert(*arguments, "--out", "data")
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertEqual(done.stderr.count(message), 1, done.stderr)


if __name__ == "__main__":
    unittest.main()
