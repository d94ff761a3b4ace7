"""Scores of boxes, by pycocotools."""

import contextlib
import io
import unittest

import numpy
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import score_task

NAMES = ["cell", "mitosis", "absent"]


def draw(images, classes, seed, most=6):
    """Labelled boxes [n, 5], boxes [m, 5] and confidences, of which many are equal, by image. The last class is labelled nowhere."""
    random = numpy.random.default_rng(seed)

    def boxes(count, of):
        corner, size = random.integers(0, 40, (count, 2)), random.integers(4, 20, (count, 2))
        return numpy.concatenate([corner, corner + size, random.integers(0, of, (count, 1))], 1).astype(numpy.float32)

    labelled, told, confidence = [], [], []
    for i in range(images):
        labelled.append(boxes(0 if i % 4 == 1 else random.integers(1, most), classes - 1))
        near = labelled[-1] + numpy.pad(random.integers(-2, 3, (len(labelled[-1]), 4)), ((0, 0), (0, 1)))
        others = boxes(0 if i % 5 == 2 else random.integers(0, most), classes)
        told.append(numpy.concatenate([near, others]).astype(numpy.float32))
        confidence.append((random.integers(1, 9, len(told[-1])) / 8).astype(numpy.float32))
    return labelled, told, confidence


def coco(labelled, told, confidence, overlaps):
    """Precision [overlaps, recalls, classes] of pycocotools; -1: none."""
    def of(boxes):
        return {"bbox": [float(boxes[0]), float(boxes[1]), float(boxes[2] - boxes[0]), float(boxes[3] - boxes[1])], "category_id": int(boxes[4])}

    truth = [{"id": 0, "image_id": i, "iscrowd": 0, **of(box)} for i, image in enumerate(labelled) for box in image]
    for number, one in enumerate(truth):
        one.update(id=number + 1, area=one["bbox"][2] * one["bbox"][3])
    said = [{"image_id": i, "score": float(sure), **of(box)} for i, image in enumerate(told) for box, sure in zip(image, confidence[i])]
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = COCO()
        dataset.dataset = {"images": [{"id": i} for i in range(len(labelled))], "annotations": truth,
                           "categories": [{"id": c, "name": name} for c, name in enumerate(NAMES)]}
        dataset.createIndex()
        evaluation = COCOeval(dataset, dataset.loadRes(said), "bbox")
        evaluation.params.iouThrs = numpy.array(overlaps)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, :, 0, -1]


def mean(precision):
    return precision[precision > -1].mean()


class Detection(unittest.TestCase):
    def check(self, labelled, told, confidence, overlaps, settings=(), **context):
        card = score_task.score("detection", {"boxes": told, "confidence": confidence}, labelled, names=NAMES, images_per_pass=4, settings=settings, **context)
        precision = coco(labelled, told, confidence, overlaps)
        got = score_task.values(card["scores"])
        self.assertAlmostEqual(got["map"], mean(precision), places=9)
        for name, overlap in (("ap50", 0.5), ("ap75", 0.75)):
            self.assertAlmostEqual(got[name], mean(coco(labelled, told, confidence, [overlap])), places=9)
        by_class = score_task.groups(card["class_scores"])
        for c, name in enumerate(NAMES):
            if (precision[:, :, c] > -1).any():
                self.assertAlmostEqual(by_class[name]["map"], mean(precision[:, :, c]), places=9)
            else:
                self.assertIsNone(by_class[name]["map"])
        return card

    def test_they_are_those_of_pycocotools(self):
        overlaps = numpy.linspace(0.5, 0.95, 10)
        for seed in range(2):
            with self.subTest(seed=seed):
                card = self.check(*draw(31, 3, seed), overlaps)
                score = card["scores"][0]
                self.assertLess(score["low"], score["value"])
                self.assertGreater(score["high"], score["value"])

    def test_other_overlaps(self):
        self.check(*draw(20, 3, seed=7), [0.3, 0.6], settings=["iou=[0.3, 0.6]"])

    def test_more_boxes_than_coco_counts(self):
        labelled, told, confidence = draw(3, 3, seed=9)
        random = numpy.random.default_rng(1)
        many = []
        for boxes in told:
            shifts = numpy.pad(random.integers(-3, 4, (40, 1, 4)), ((0, 0), (0, 0), (0, 1)))
            near = (boxes + shifts * (1, 1, 0, 0, 0)).reshape(-1, 5)
            many.append(numpy.concatenate([boxes, near]).astype(numpy.float32))
        sure = [(random.integers(1, 50, len(boxes)) / 64).astype(numpy.float32) for boxes in many]
        self.assertGreater(max(numpy.bincount(boxes[:, 4].astype(int)).max() for boxes in many), 100)
        self.check(labelled, many, sure, numpy.linspace(0.5, 0.95, 10))

    def test_contexts_are_scored_alone(self):
        labelled, told, confidence = draw(24, 3, seed=5)
        context = numpy.arange(24)[:, None] % 3
        card = self.check(labelled, told, confidence, numpy.linspace(0.5, 0.95, 10), context=context, keys={"site": ["a", "b", "c", "nobody"]})
        groups = score_task.groups(card["contexts_by"][0]["contexts"])
        self.assertEqual(list(groups), ["a", "b", "c"])
        for value, name in enumerate("abc"):
            own = [i for i in range(24) if context[i, 0] == value]
            precision = coco(*[[column[i] for i in own] for column in (labelled, told, confidence)], numpy.linspace(0.5, 0.95, 10))
            self.assertAlmostEqual(groups[name]["map"], mean(precision), places=9)


if __name__ == "__main__":
    unittest.main()
