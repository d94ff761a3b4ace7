"""Image files of many kinds, converted, against what Pillow makes of them."""

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
import PIL.ImageCms
import PIL.ImageOps

PROGRAM = os.environ["COHORT_DATA_PROGRAM"]
HEIGHT, WIDTH = 20, 28


def slopes():
    """(H, W, 3): no two of its eight positions look alike."""
    y, x = numpy.mgrid[:HEIGHT, :WIDTH]
    return numpy.stack([5 * y + 3 * x, 2 * y + 6 * x, 250 - 7 * y], -1).astype("uint8")


def orientation(value):
    exif = PIL.Image.Exif()
    exif[0x0112] = value
    return exif


def stored(value):
    """An image whose pixels are the slopes once it is turned as `value` says."""
    methods = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}
    image = PIL.Image.fromarray(slopes())
    return image.transpose(PIL.Image.Transpose[methods[value]]) if value in methods else image


def seen(file):
    """[C, H, W] as Pillow shows it."""
    image = PIL.ImageOps.exif_transpose(PIL.Image.open(file))
    return numpy.asarray(image.convert("RGB")).transpose(2, 0, 1)


class ImageFiles(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.photos = self.folder / "photos" / "site"
        self.photos.mkdir(parents=True)

    def save(self, name, image, **options):
        image.save(self.photos / name, **options)

    def convert(self, *arguments):
        """What the program says, and the rows of all images by name: pixels, or bytes of a codec."""
        done = subprocess.run([PROGRAM, "convert", "images", self.folder / "photos", "--layout", "context:site", "--out", self.folder / "out", *arguments],
                              check=True, capture_output=True, text=True)
        description = json.loads((self.folder / "out" / "dataset.json").read_text())
        rows = {}
        for shard in description["splits"][0]["shards"]:
            with h5py.File(self.folder / "out" / shard["file"]) as file:
                names = [pathlib.Path(name).name for name in file["id"].asstr()[:]]
                if "images" in file:
                    rows |= dict(zip(names, file["images"][:]))
                else:
                    offsets = file["offset"][:]
                    rows |= {name: file["encoded"][begin:end].tobytes() for name, begin, end in zip(names, offsets[:-1], offsets[1:])}
        return done.stdout + done.stderr, rows

    def save_orientations(self, kinds):
        for value in range(1, 9):
            for kind in kinds:
                self.save(f"{value}.{kind}", stored(value), exif=orientation(value), **({"quality": 95} if kind == "jpg" else {}))

    def test_all_orientations_are_turned_upright(self):
        self.save_orientations(("jpg", "png", "tif"))
        said, rows = self.convert()
        self.assertEqual(len(rows), 24)
        for name, row in rows.items():
            numpy.testing.assert_allclose(row.astype(int), seen(self.photos / name), atol=1, err_msg=name)
            self.assertLess(numpy.abs(row.transpose(1, 2, 0).astype(int) - slopes()).mean(), 3, name)
        self.assertIn("21 images: turned upright", said)

    def test_jpeg_files_that_lie_are_encoded_again(self):
        self.save_orientations(("jpg",))
        said, rows = self.convert("--codec", "jpeg")
        for name, row in rows.items():
            file = self.photos / name
            self.assertEqual(row == file.read_bytes(), name == "1.jpg", name)
            self.assertEqual(PIL.Image.open(io.BytesIO(row)).getexif().get(0x0112, 1), 1)
            got = numpy.asarray(PIL.Image.open(io.BytesIO(row))).transpose(2, 0, 1).astype(int)
            self.assertLess(numpy.abs(got - seen(file)).mean(), 2, name)
        self.assertIn("7 images: turned upright, as the orientation in their metadata says; JPEG files among them are encoded again", said)

    def test_kept_jpeg_files_are_those_of_their_rows_when_one_is_left_out(self):
        for i in range(4):
            self.save(f"{i}.jpg", PIL.Image.new("RGB", (WIDTH, HEIGHT), (60 * i, 0, 0)))
        (self.photos / "1.jpg").write_bytes(b"\xff\xd8\xff damaged")
        _, rows = self.convert("--codec", "jpeg", "--on-error", "skip")
        self.assertEqual(sorted(rows), ["0.jpg", "2.jpg", "3.jpg"])
        for name, row in rows.items():
            self.assertEqual(row, (self.photos / name).read_bytes(), name)

    def test_colours_of_many_kinds_become_rgb(self):
        colours = PIL.Image.fromarray(slopes())
        profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
        alpha = PIL.Image.fromarray(numpy.dstack([slopes(), slopes()[..., :1]]))
        inks = PIL.Image.fromarray(numpy.dstack([slopes(), slopes()[..., :1] // 2]), "CMYK")
        palette = colours.quantize(17)
        self.save("alpha.png", alpha)
        self.save("alpha.tif", alpha, compression="tiff_lzw")
        self.save("palette.png", palette, transparency=3)
        self.save("palette.tif", palette)
        self.save("inks.jpg", inks, quality=95)
        self.save("inks.tif", inks, compression="zstd")
        self.save("luma.tif", colours.convert("YCbCr"))
        self.save("subsampled.jpg", colours, progressive=True, subsampling=2)
        self.save("strips.tif", colours, compression="jpeg")
        for kind in ("jpg", "png", "tif"):
            self.save(f"profile.{kind}", colours, icc_profile=profile)
        jpeg = (self.photos / "subsampled.jpg").read_bytes()
        scan = jpeg.index(b"\xff\xda")
        (self.photos / "junk.jpg").write_bytes(jpeg[:scan] + b"\x00\x01" + jpeg[scan:] + b"more")
        said, rows = self.convert()
        self.assertEqual(len(rows), 13)
        for name, row in rows.items():
            numpy.testing.assert_allclose(row.astype(int), seen(self.photos / name), atol=2, err_msg=name)
        for line in ("3 images: an alpha channel (transparency) was left out", "3 images: a colour profile, which is not applied",
                     "2 images: colours for print (CMYK) became RGB", "1 image: bytes that belong to no part of the JPEG file"):
            self.assertIn(line, said)


if __name__ == "__main__":
    unittest.main()
