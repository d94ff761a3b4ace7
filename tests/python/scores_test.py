"""Scores of cohort eval, computed again by scikit-learn from the logits and labels of cohort extract."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import h5py
import numpy
from scipy.special import softmax
from sklearn import metrics

DATASET = pathlib.Path(os.environ["COHORT_DATASET"])
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


class Scores(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        (cls.folder / "vit.yaml").write_text(CONFIG % DATASET)
        run = cls.folder / "run"
        cohort("train", cls.folder / "vit.yaml", f"run_dir={run}")
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        cls.evaluations = [line for line in lines if line["kind"] == "evaluation"]
        cls.run_folder = run

    def answers(self, evaluation):
        file = self.folder / (evaluation["split"] + ".h5")
        cohort("extract", "--run", self.run_folder, "--split", evaluation["split"], "--logits", "--out", file)
        with h5py.File(file) as features:
            labels = features["labels"][evaluation["label"]][:]
            contexts = features["context"][evaluation["context_key"]][:]
            logits = features["logits"][:]
        known = labels >= 0
        return labels[known], logits[known].astype("float64"), contexts[known]

    def test_they_are_those_of_scikit_learn(self):
        self.assertGreater(len(self.evaluations), 0)
        for evaluation in self.evaluations:
            labels, logits, contexts = self.answers(evaluation)
            probability, answer = softmax(logits, 1), logits.argmax(1)
            occurring = numpy.unique(labels)
            expected = {
                "accuracy": metrics.accuracy_score(labels, answer),
                "balanced_accuracy": metrics.balanced_accuracy_score(labels, answer),
                "f1_macro": metrics.f1_score(labels, answer, average="macro"),
                "f1_weighted": metrics.f1_score(labels, answer, average="weighted"),
                "kappa": metrics.cohen_kappa_score(labels, answer),
                "loss": metrics.log_loss(labels, probability, labels=range(logits.shape[1])),
                "auc": numpy.mean([metrics.roc_auc_score(labels == one, probability[:, one]) for one in occurring]),
            }
            for name, value in expected.items():
                with self.subTest(split=evaluation["split"], score=name):
                    self.assertAlmostEqual(evaluation[name], value, places=5)
            matrix = metrics.confusion_matrix(labels, answer, labels=range(logits.shape[1]))
            self.assertEqual(evaluation["confusion"], matrix.tolist())
            by_context = sorted(numpy.mean(answer[contexts == one] == labels[contexts == one]) for one in numpy.unique(contexts))
            numpy.testing.assert_allclose(sorted(context["accuracy"] for context in evaluation["contexts"]), by_context, atol=1e-6)


if __name__ == "__main__":
    unittest.main()
