"""Scores of cohort explain, computed again by NumPy from what it says of each image."""

import csv
import json
import unittest

import numpy
from scipy import stats

from small_run import SmallRun, cohort, json_lines


def values_of(scores):
    return {score["name"]: score["value"] for score in scores}


class Explanations(SmallRun):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cohort("explain", "--run", cls.run_folder, "--split", "test", "--images", 2, "--neighbours", 0, "--steps", 16,
               "--score", "adcc,insertion,deletion", "--score-images", 12)
        cohort("extract", "--run", cls.run_folder, "--split", "test", "--out", cls.folder / "images.csv")
        cls.explained = json.loads((cls.run_folder / "explain" / "explain.json").read_text())
        cls.lines = json_lines(cls.run_folder / "explain" / "scores.jsonl")
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

    def test_intervals_of_contexts_are_those_of_a_mean(self):
        for scores in self.explained["scores"]:
            for context in scores["contexts_by"][0]["contexts"]:
                for score in context["scores"]:
                    if score["name"] == "adcc_of_means" or context["samples"] < 2:
                        self.assertNotIn("interval", score)
                        continue
                    values = self.column(scores["method"], score["name"], context["name"])
                    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
                    expected = [max(0, values.mean() - half), min(1, values.mean() + half)]
                    numpy.testing.assert_allclose(score["interval"], expected, atol=1e-6)

    def test_intervals_of_all_are_near_those_of_the_bootstrap(self):
        for scores in self.explained["scores"]:
            for score in scores["scores"]:
                low, high = score["interval"]
                self.assertLessEqual(low, score["value"])
                self.assertGreaterEqual(high, score["value"])
                if score["name"] == "adcc_of_means":
                    continue
                values = self.column(scores["method"], score["name"])
                draws = numpy.random.default_rng(1).choice(values, (4000, len(values))).mean(1)
                width = numpy.subtract(*numpy.percentile(draws, [97.5, 2.5]))
                self.assertAlmostEqual(high - low, width, delta=0.2 * width, msg=score["name"])

    def test_classes_are_those_that_are_answered(self):
        for scores in self.explained["scores"]:
            self.assertEqual(sum(one["samples"] for one in scores["classes"]), 12)
            for index, score in enumerate(scores["scores"]):
                if score["name"] == "adcc_of_means":
                    continue
                mean = sum(one["samples"] * one["scores"][index]["value"] for one in scores["classes"]) / 12
                self.assertAlmostEqual(mean, score["value"], delta=1e-7, msg=score["name"])

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
