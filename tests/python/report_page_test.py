"""The report of two runs as Chromium draws it: at two widths, light and dark. Screenshots land in $COHORT_ARTEFACTS."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import numpy
from PIL import Image

CONFIG = """
data: {path: %s}
model: {name: vit_tiny, patch_size: 16, width: 48, depth: 2, heads: 3}
context: {keys: [context]}
sampler: {groups_per_step: 2, images_per_group: 8}
train: {max_steps: 12}
"""
# Measures the page and says so in its title; the page itself has no scripts.
PROBE = """<script>addEventListener("load", () => { const page = document.documentElement;
document.title = ["measured", page.scrollWidth, innerWidth, getComputedStyle(document.body).backgroundColor,
  [...document.images].filter(image => image.naturalWidth == 0).length].join("|"); });</script>"""
WIDTHS = (500, 1200)
THEMES = {"light": "1", "dark": "0"}


def brightness(colour):
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


class ReportPage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        cls.artefacts = pathlib.Path(os.environ["COHORT_ARTEFACTS"])
        cls.artefacts.mkdir(parents=True, exist_ok=True)
        (cls.folder / "vit.yaml").write_text(CONFIG % os.environ["COHORT_DATASET"])
        for run, extra in (("contextvit", []), ("vit", ["context.keys=[]"])):
            cls.cohort("train", "vit.yaml", f"run_dir={run}", *extra)
            cls.cohort("explain", "--run", run, "--images", "2")
        cls.cohort("report", "contextvit", "vit", "--out", "page.html")
        page = (cls.folder / "page.html").read_text()
        (cls.folder / "measured.html").write_text(page.replace("</body>", PROBE + "</body>"))

    @classmethod
    def cohort(cls, *arguments):
        command = [os.environ["MPIEXEC"], "-n", "2", os.environ["COHORT_PROGRAM"], *arguments]
        if arguments[0] == "report":
            command = command[3:]
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, cwd=cls.folder)

    def chromium(self, page, width, theme, *arguments):
        command = [os.environ["COHORT_CHROMIUM"], "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={self.folder / 'profile'}",
                   f"--window-size={width},2400", f"--blink-settings=preferredColorScheme={THEMES[theme]}", *arguments, (self.folder / page).as_uri()]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout

    def test_fits_and_follows_the_theme(self):
        for width in WIDTHS:
            for theme in THEMES:
                with self.subTest(width=width, theme=theme):
                    dom = self.chromium("measured.html", width, theme, "--dump-dom")
                    found = re.search(r"<title>measured\|(\d+)\|(\d+)\|([^|]*)\|(\d+)</title>", dom)
                    self.assertIsNotNone(found, dom[:300])
                    self.assertLessEqual(int(found[1]), int(found[2]), "wider than the window")
                    self.assertEqual(brightness(found[3]) > 128, theme == "light", found[3])
                    self.assertEqual(int(found[4]), 0, "pictures that cannot be decoded")

    def test_draws_something(self):
        for width in WIDTHS:
            for theme in THEMES:
                with self.subTest(width=width, theme=theme):
                    file = self.artefacts / f"report-{width}-{theme}.png"
                    self.chromium("page.html", width, theme, f"--screenshot={file}")
                    pixels = numpy.asarray(Image.open(file).convert("RGB"), dtype="float64")
                    self.assertEqual(pixels.shape[1], width)
                    self.assertGreater(pixels.reshape(-1, 3).std(0).min(), 10, "a blank page")
                    self.assertEqual(pixels[:4, :4].mean() > 128, theme == "light")


if __name__ == "__main__":
    unittest.main()
