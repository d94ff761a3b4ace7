"""Scores of masks, by scikit-learn and SciPy."""

import unittest

import numpy
from scipy import ndimage
from sklearn import metrics

import score_task

NAMES = ["sky", "roof", "door", "car"]
KEYS = {"site": ["a", "b", "nobody"], "year": ["old", "new"]}


def draw(shape, classes, seed, columns=None):
    """Logits and masks with unknown pixels; class 3 occurs nowhere, image 2 is not known at all."""
    random = numpy.random.default_rng(seed)
    labels = random.integers(0, min(classes, 3), shape).astype(numpy.uint8)
    labels = numpy.repeat(numpy.repeat(labels, 3, -1), 3, -2)
    logits = random.normal(size=(labels.shape[0], columns or classes) + labels.shape[1:]).astype(numpy.float32)
    for c in range(logits.shape[1]):
        logits[:, c] += 1.5 * (labels == (c if columns != 1 else 1))
    labels[random.random(labels.shape) < 0.1] = 255
    labels[2] = 255
    return logits, labels


def boundary(mask, of):
    """Pixels of `of` beside known ones of another class."""
    found = numpy.zeros(mask.shape, bool)
    for axis in (0, 1):
        for shift in (-1, 1):
            other = numpy.roll(mask, shift, axis).astype(int)
            edge = [slice(None), slice(None)]
            edge[axis] = 0 if shift == 1 else -1
            other[tuple(edge)] = 255
            found |= (mask == of) & (other != of) & (other != 255)
    return found


def boundary_f(label, answer, of, tolerance):
    answer = numpy.where(label == 255, 255, answer)
    one, other = boundary(answer, of), boundary(label, of)
    if not one.any() and not other.any():
        return numpy.nan
    if not one.any() or not other.any():
        return 0.0
    precision = numpy.mean(ndimage.distance_transform_edt(~other)[one] <= tolerance)
    recall = numpy.mean(ndimage.distance_transform_edt(~one)[other] <= tolerance)
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def image_dice(label, answer, of):
    known = label != 255
    one, other = (answer == of)[known], (label == of)[known]
    return 1.0 if not one.any() and not other.any() else metrics.f1_score(other, one, zero_division=0)


def mean(values):
    values = [value for value in values if not numpy.isnan(value)]
    return float(numpy.mean(values)) if values else numpy.nan


class Segmentation(unittest.TestCase):
    def check(self, got, expected, places=9):
        for name, value in expected.items():
            with self.subTest(score=name):
                if numpy.isnan(value):
                    self.assertIsNone(got[name])
                else:
                    self.assertAlmostEqual(got[name], value, places=places)

    def expected(self, labels, answers, classes, tolerance=2.0, volume=False):
        """Scores of each of `classes`."""
        known = labels != 255
        truth, said = labels[known], answers[known]
        images = [i for i in range(len(labels)) if (labels[i] != 255).any()]
        scores = []
        for c in classes:
            occurs, answered = (truth == c).any(), (said == c).any()
            any_of = occurs or answered
            scores.append({
                "dice": metrics.f1_score(truth == c, said == c, zero_division=0) if any_of else numpy.nan,
                "iou": metrics.jaccard_score(truth == c, said == c, zero_division=0) if any_of else numpy.nan,
                "precision": metrics.precision_score(truth == c, said == c) if answered else numpy.nan,
                "recall": metrics.recall_score(truth == c, said == c) if occurs else numpy.nan,
                "image_dice": mean([image_dice(labels[i], answers[i], c) for i in images]),
                "positive_image_dice": mean([image_dice(labels[i], answers[i], c) for i in images if (labels[i] == c).any()]),
                "boundary_f": numpy.nan if volume else mean([boundary_f(labels[i], answers[i], c, tolerance) for i in images]),
            })
        return scores

    def means(self, scores):
        return {name: mean([one[name] for one in scores]) for name in scores[0]}

    def test_classes_of_images(self):
        logits, labels = draw((9, 5, 4), 4, seed=1)
        context = numpy.stack([numpy.arange(9) % 2, numpy.arange(9) // 5], 1)
        answers = logits.argmax(1)
        for tolerance in (1.0, 2.0):
            card = score_task.score("segmentation", {"logits": logits}, labels, context=context, keys=KEYS, names=NAMES,
                                    images_per_pass=2, settings=[f"boundary_tolerance={tolerance}"])
            by_class = self.expected(labels, answers, range(4), tolerance)
            self.check(score_task.values(card["scores"]), self.means(by_class))
            known = labels != 255
            self.check(score_task.values(card["scores"]), {"pixel_accuracy": metrics.accuracy_score(labels[known], answers[known])})
            for name, expected in zip(NAMES, by_class):
                self.check(score_task.groups(card["class_scores"])[name], expected)
        self.assertEqual(card["samples"], 8)
        for number, key in enumerate(KEYS):
            groups = score_task.groups(card["contexts_by"][number]["contexts"])
            self.assertEqual(set(groups), {KEYS[key][value] for value in context[:, number]})
            for name, got in groups.items():
                own = context[:, number] == KEYS[key].index(name)
                of_context = self.means(self.expected(labels[own], answers[own], range(4)))
                self.check(got, {score: of_context[score] for score in ("dice", "iou", "image_dice")})

    def test_one_class_alone(self):
        logits, labels = draw((6, 4, 5), 2, seed=2, columns=1)
        for threshold in (0.5, 0.7):
            card = score_task.score("segmentation", {"logits": logits}, labels, names=["none", "lung"],
                                    settings=[f"threshold={threshold}"])
            answers = 1 / (1 + numpy.exp(-logits[:, 0].astype(numpy.float64))) >= threshold
            by_class = self.expected(labels, answers.astype(int), (0, 1))
            self.check(score_task.values(card["scores"]), by_class[1])
            for name, expected in zip(("none", "lung"), by_class):
                self.check(score_task.groups(card["class_scores"])[name], expected)

    def test_volumes(self):
        logits, labels = draw((4, 3, 2, 3), 3, seed=3)
        masks = numpy.where(labels == 255, -1, labels.astype(numpy.int32))
        card = score_task.score("segmentation", {"logits": logits}, masks, names=NAMES[:3])
        by_class = self.expected(labels, logits.argmax(1), range(3), volume=True)
        self.check(score_task.values(card["scores"]), self.means(by_class))

    def test_intervals_hold_what_resampling_of_images_gives(self):
        logits, labels = draw((60, 4, 4), 3, seed=4)
        card = score_task.score("segmentation", {"logits": logits}, labels, names=NAMES[:3], images_per_pass=16)
        answers, random = logits.argmax(1), numpy.random.default_rng(0)
        counts = numpy.array([[[((a == c) & (t == c)).sum(), ((a == c) & (t != 255)).sum() + (t == c).sum()] for c in range(3)]
                              for a, t in zip(answers, labels)])
        drawn = []
        for _ in range(2000):
            sums = counts[random.integers(0, 60, 60)].sum(0)
            drawn.append(numpy.mean(2 * sums[:, 0] / sums[:, 1]))
        got = card["scores"][0]
        low, high = numpy.percentile(drawn, [2.5, 97.5])
        self.assertAlmostEqual(got["low"], low, delta=0.15 * (high - low))
        self.assertAlmostEqual(got["high"], high, delta=0.15 * (high - low))


if __name__ == "__main__":
    unittest.main()
