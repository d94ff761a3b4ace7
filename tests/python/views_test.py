"""Image operations beside Pillow's and torchvision's with the same parameters. Theirs round to 8 bits after each step, ours do not."""

import os
import pathlib
import subprocess
import unittest

import h5py
import numpy
from PIL import Image, ImageFilter
from torchvision.transforms import InterpolationMode, RandAugment, autoaugment, functional

PROGRAM = os.environ["COHORT_OPERATIONS"]
NUCLEI = pathlib.Path(os.environ["COHORT_DATASET"])
# Of 255. One rounding is at most 1/2, one that cuts off (Pillow's blend) up to 1 and 1/2 in the mean; several meet in a resize and a blur.
MEAN_BOUND, LARGEST_BOUND = 1.0, 3.0


def photos():
    """Three nuclei as the channels of one image, and a synthetic image with saturated colours and hard edges."""
    with h5py.File(NUCLEI / "train-00000.h5") as file:
        images = file["images"][:9, 0]
    for first in (0, 3, 6):
        yield Image.fromarray(numpy.stack([images[first + c] for c in range(3)], axis=2))
    y, x = numpy.mgrid[0:96, 0:80]
    yield Image.fromarray(numpy.stack([(x * 3) % 256, (y * 5 + x) % 256, 255 * ((x // 8 + y // 8) % 2)], axis=2).astype("uint8"))


def ours(image, operation, cases):
    """The results of all cases, one after another."""
    planes = numpy.asarray(image).transpose(2, 0, 1).astype("float32")
    words = [str(size) for size in planes.shape]
    for numbers in cases:
        words += [operation, *map(str, numbers)]
    result = subprocess.run([PROGRAM, *words], input=planes.tobytes(), capture_output=True, check=True)
    return numpy.frombuffer(result.stdout, "float32")


class Operations(unittest.TestCase):
    def compare(self, name, cases, mean_bound=MEAN_BOUND, largest_bound=LARGEST_BOUND):
        worst_mean = worst = 0.0
        for image in photos():
            numbers, theirs = zip(*cases(image))
            results = ours(image, name, numbers)
            for their in theirs:
                expected = numpy.asarray(their).transpose(2, 0, 1).astype("float32").ravel()
                difference = numpy.abs(results[:expected.size] - expected)
                results = results[expected.size:]
                worst_mean, worst = max(worst_mean, float(difference.mean())), max(worst, float(difference.max()))
            self.assertEqual(results.size, 0)
        print(f"{name:12} mean difference at most {worst_mean:.3f}, largest {worst:.2f} of 255")
        self.assertLess(worst_mean, mean_bound, name)
        self.assertLessEqual(worst, largest_bound, name)

    def resize(self, name, resample, with_whole=True):
        def cases(image):
            whole = ((0, 0, image.height, image.width),) if with_whole else ()
            for top, left, height, width in (*whole, (5, 9, 40, 31), (20, 3, 17, 50), (1, 2, 11, 9)):
                for size in ((96, 96), (32, 32)):
                    box = (left, top, left + width, top + height)
                    yield (top, left, height, width, *size), image.resize((size[1], size[0]), resample, box=box)

        self.compare(name, cases)

    def test_bicubic_resize(self):
        self.resize("bicubic", Image.Resampling.BICUBIC)

    def test_bilinear_resize(self):
        self.resize("bilinear", Image.Resampling.BILINEAR)

    def test_area_resize(self):
        self.resize("area", Image.Resampling.BOX)

    def test_nearest_resize(self):
        # Of 64 pixels 96: every third place lies on an edge of two pixels, and rounding decides.
        self.resize("nearest", Image.Resampling.NEAREST, with_whole=False)

    def affine(self, mode, mean_bound):
        def cases(image):
            for degrees, right, down, scale, shear in ((0, 3, -5, 1, (0, 0)), (30, 0, 0, 1, (0, 0)), (-75, 4, 2, 1.3, (12, -8)), (10, -6, 9, 0.7, (0, 20))):
                theirs = functional.affine(image, degrees, [right, down], scale, list(shear), InterpolationMode(mode))
                yield (degrees, right, down, scale, *shear), theirs

        # A pixel whose place rounds to the other side of an edge of two pixels is another one.
        self.compare(f"affine_{mode}", cases, mean_bound=mean_bound, largest_bound=255.0)

    def test_affine_nearest(self):
        self.affine("nearest", 0.2)

    def test_affine_bilinear(self):
        self.affine("bilinear", MEAN_BOUND)

    def test_rand_augment(self):
        """Every change, at several magnitudes, to both sides; what moves pixels may take the neighbour, and steps of equalised values may lie between others."""
        def cases(image):
            space = RandAugment()._augmentation_space(31, (image.height, image.width))
            for number, (name, (values, is_signed)) in enumerate(space.items()):
                for magnitude in (0, 9, 30):
                    for negative in (False, True):
                        value = float(values[magnitude].item()) if values.ndim > 0 else 0.0
                        value = -value if is_signed and negative else value
                        yield (number, magnitude, int(negative)), autoaugment._apply_op(image, name, value, InterpolationMode.NEAREST, None)

        self.compare("rand_augment", cases, largest_bound=255.0)

    def test_brightness(self):
        self.compare("brightness", lambda image: [((f,), functional.adjust_brightness(image, f)) for f in (0.6, 1.0, 1.4)])

    def test_contrast(self):
        self.compare("contrast", lambda image: [((f,), functional.adjust_contrast(image, f)) for f in (0.6, 1.0, 1.4)])

    def test_saturation(self):
        self.compare("saturation", lambda image: [((f,), functional.adjust_saturation(image, f)) for f in (0.0, 0.8, 1.2)])

    def test_hue(self):
        # A hue or saturation that lies on the edge of two of Pillow's 256 may fall to the other side: 6 of 255 in a channel.
        self.compare("hue", lambda image: [((f,), functional.adjust_hue(image, f)) for f in (-0.1, 0.03, 0.1, 0.5)], largest_bound=8.0)

    def test_gray(self):
        self.compare("gray", lambda image: [((), functional.to_grayscale(image, 3))])

    def test_solarise(self):
        self.compare("solarise", lambda image: [((t,), functional.solarize(image, t)) for t in (128, 20)])

    def test_gaussian_blur(self):
        self.compare("blur", lambda image: [((r,), image.filter(ImageFilter.GaussianBlur(r))) for r in (0.1, 0.7, 1.3, 2.0, 4.5)])


if __name__ == "__main__":
    unittest.main()
