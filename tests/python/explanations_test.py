"""Scores of cohort explain, computed again by NumPy from what it says of each image."""

import csv
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import numpy

CONFIG = """
data: {path: %s}
model: {name: vit_tiny, patch_size: 16, width: 48, depth: 2, heads: 3}
context: {keys: [context]}
sampler: {groups_per_step: 2, images_per_group: 8}
optimizer: {lr: 3e-3}
train: {max_steps: 12}
"""


def cohort(*arguments):
    subprocess.run([os.environ["MPIEXEC"], "-n", "2", os.environ["COHORT_PROGRAM"], *map(str, arguments)],
                   check=True, capture_output=True, stdin=subprocess.DEVNULL)


def values_of(scores):
    return {score["name"]: score["value"] for score in scores}


class Explanations(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        (cls.folder / "vit.yaml").write_text(CONFIG % os.environ["COHORT_DATASET"])
        run = cls.folder / "run"
        cohort("train", cls.folder / "vit.yaml", f"run_dir={run}")
        cohort("explain", "--run", run, "--split", "test", "--images", 2, "--neighbours", 0, "--steps", 16,
               "--score", "adcc,insertion,deletion", "--score-images", 12)
        cohort("extract", "--run", run, "--split", "test", "--out", cls.folder / "images.csv")
        cls.explained = json.loads((run / "explain" / "explain.json").read_text())
        cls.lines = [json.loads(line) for line in (run / "explain" / "scores.jsonl").read_text().splitlines()]
        with open(cls.folder / "images.csv", newline="") as file:
            cls.context = {row["id"]: row["context"] for row in csv.DictReader(file)}

    def column(self, method, name, context=None):
        return numpy.array([line[name] for line in self.lines if line["method"] == method
                            and (context is None or self.context[line["id"]] == context)])

    def test_adcc_is_the_harmonic_mean(self):
        for method in ("reciprocam", "rollout"):
            drop, coherency, complexity = (self.column(method, name) for name in ("average_drop", "coherency", "complexity"))
            expected = 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop))
            numpy.testing.assert_allclose(self.column(method, "adcc"), expected, rtol=1e-5)

    def test_means_are_those_of_the_images(self):
        self.assertEqual([scores["method"] for scores in self.explained["scores"]], ["reciprocam", "rollout"])
        for scores in self.explained["scores"]:
            method, means = scores["method"], values_of(scores["scores"])
            self.assertEqual(scores["images"], 12)
            drop, coherency, complexity = means["average_drop"], means["coherency"], means["complexity"]
            self.assertAlmostEqual(means.pop("adcc_of_means"), 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop)), delta=1e-7)
            for name, value in means.items():
                self.assertAlmostEqual(value, self.column(method, name).mean(), delta=1e-6, msg=name)
            (by,) = scores["contexts_by"]
            self.assertEqual(sum(context["samples"] for context in by["contexts"]), 12)
            for context in by["contexts"]:
                for name, value in values_of(context["scores"]).items():
                    if name != "adcc_of_means":
                        self.assertAlmostEqual(value, self.column(method, name, context["name"]).mean(), delta=1e-6, msg=name)

    def test_scores_of_curves_are_their_areas(self):
        for scores in self.explained["scores"]:
            means = values_of(scores["scores"])
            self.assertEqual([curve["kind"] for curve in scores["curves"]], ["insertion", "deletion"])
            for curve in scores["curves"]:
                x, y = numpy.array(curve["points"]).T
                numpy.testing.assert_allclose(x, numpy.linspace(0, 1, 17), atol=1e-9)
                self.assertAlmostEqual(means[curve["kind"]], ((y[1:] + y[:-1]) / 2 * numpy.diff(x)).sum(), delta=1e-7)

    def test_both_curves_meet_at_the_image(self):
        for scores in self.explained["scores"]:
            insertion, deletion = scores["curves"]
            self.assertAlmostEqual(insertion["points"][-1][1], deletion["points"][0][1], delta=1e-6)


if __name__ == "__main__":
    unittest.main()
