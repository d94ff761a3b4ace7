"""Scores of cohort eval, computed again by scikit-learn from the logits and labels of cohort extract."""

import unittest

import h5py
import numpy
from scipy.special import softmax
from sklearn import metrics

from small_run import SmallRun, cohort, json_lines


class Scores(SmallRun):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lines = json_lines(cls.run_folder / "metrics.jsonl")
        cls.evaluations = [line for line in lines if line["kind"] == "evaluation"]

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
