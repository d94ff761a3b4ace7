"""Encoded datasets, read with h5py, Pillow and json alone, against the raw dataset of the same images."""

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


def synthesize(folder, codec, channels, kind):
    subprocess.run([PROGRAM, "synth", "--contexts", "2", "--images-per-context", "5", "--size", "24x32", "--channels", str(channels),
                    "--type", kind, "--codec", codec, "--out", str(folder)], check=True, capture_output=True)
    description = json.loads((folder / "dataset.json").read_text())
    return description, [h5py.File(folder / shard["file"]) for split in description["splits"] for shard in split["shards"]]


def rows_of(file):
    offsets = file["offset"][:]
    return [file["encoded"][begin:end].tobytes() for begin, end in zip(offsets[:-1], offsets[1:])]


def pixels_of(image, layout):
    """[C, H, W] of what Pillow gives."""
    array = numpy.asarray(image)
    if layout["channels"] == 3:
        return array.transpose(2, 0, 1)
    return array.reshape(layout["channels"], layout["height"], layout["width"])


class Codec(unittest.TestCase):
    def check(self, codec, channels, kind, tolerance):
        with tempfile.TemporaryDirectory() as folder:
            description, files = synthesize(pathlib.Path(folder) / "encoded", codec, channels, kind)
            _, raw = synthesize(pathlib.Path(folder) / "raw", "raw", channels, kind)
            self.assertEqual((description["version"], description["images"]["codec"]), (2, codec))
            expected = numpy.concatenate([file["images"][:] for file in raw])
            rows = [row for file in files for row in rows_of(file)]
            self.assertEqual(len(rows), len(expected))
            for row, image in zip(rows, expected):
                got = pixels_of(PIL.Image.open(io.BytesIO(row)), description["images"])
                self.assertLessEqual(numpy.abs(got.astype("float64") - image).mean(), tolerance)

    def test_png_of_any_number_of_channels(self):
        for channels in (1, 3, 5):
            self.check("png", channels, "u8", 0)

    def test_png_of_16_bits(self):
        self.check("png", 1, "u16", 0)
        self.check("png", 2, "u16", 0)

    def test_jpeg(self):
        for channels in (1, 3, 5):
            self.check("jpeg", channels, "u8", 4)

    def test_jpeg_files_are_kept_as_they_are(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            random = numpy.random.default_rng(2)
            files = {}
            for i in range(6):  # with chroma subsampling and another quality than ours, progressive, and a PNG among them
                file = folder / "photos" / f"site{i % 2}" / (f"{i}.png" if i == 5 else f"{i}.jpg")
                file.parent.mkdir(parents=True, exist_ok=True)
                image = PIL.Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype="uint8"))
                image.save(file, **({} if i == 5 else {"quality": 40 + 10 * i, "subsampling": 2, "progressive": i == 3}))
                files[f"site{i % 2}/{file.name}"] = file.read_bytes()

            def converted(out, *arguments):
                subprocess.run([PROGRAM, "convert", "images", folder / "photos", "--layout", "context:site", "--codec", "jpeg",
                                "--out", folder / out, *arguments], check=True, capture_output=True)
                description = json.loads((folder / out / "dataset.json").read_text())
                rows = {}
                for shard in description["splits"][0]["shards"]:
                    with h5py.File(folder / out / shard["file"]) as file:
                        rows |= dict(zip(file["id"].asstr()[:], rows_of(file)))
                return description, rows

            description, rows = converted("kept")
            for key, row in rows.items():
                self.assertEqual(row == files[key], key.endswith(".jpg"), key)
            # Statistics are of what a reader decodes.
            pixels = numpy.stack([pixels_of(PIL.Image.open(io.BytesIO(row)), description["images"]) for row in rows.values()])
            numpy.testing.assert_allclose(description["mean"], pixels.mean((0, 2, 3)), atol=1.0)
            for out, arguments in (("quality", ["--jpeg-quality", "80"]), ("resized", ["--resize", "24x16"])):
                self.assertFalse(set(converted(out, *arguments)[1].values()) & set(files.values()), out)


if __name__ == "__main__":
    unittest.main()
