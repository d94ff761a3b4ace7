"""Scorecards of verification, retrieval and matching against scikit-learn and numpy, on 1 to 4 ranks: ties, unknown values, contexts, several texts an image."""

import unittest

import numpy
from sklearn import metrics

from score_task import groups, score, values


class Verification(unittest.TestCase):
    def data(self, images=120, steps=20, seed=3):
        random = numpy.random.default_rng(seed)
        flags = random.integers(0, 2, (images, 1)).astype("uint8")
        scores = numpy.clip(0.5 + 0.25 * (flags[:, 0] - 0.5) + 0.2 * random.normal(size=images), 0, 1)
        scores = (numpy.round(scores * steps) / steps).astype("float32")
        flags[::11] = 255
        return random, scores, flags

    def check(self, card, truth, scores, threshold=0.5, rates=(0.01,)):
        found = values(card["scores"])
        accepted = scores >= threshold
        accept, reject = accepted[truth == 0].mean(), (~accepted[truth == 1]).mean()
        self.assertAlmostEqual(found["hter"], (accept + reject) / 2, places=13)
        self.assertAlmostEqual(found["false_accept_rate"], accept, places=13)
        self.assertAlmostEqual(found["false_reject_rate"], reject, places=13)
        self.assertAlmostEqual(found["auc"], metrics.roc_auc_score(truth, scores), places=12)
        false, true, _ = metrics.roc_curve(truth, scores, drop_intermediate=False)
        for rate in rates:
            self.assertAlmostEqual(found[f"tpr_at_fpr_{rate:g}"], true[false <= rate][-1], places=13)
        thresholds = numpy.append(numpy.arange(10001) / 10000, 1.1)
        accepts = numpy.array([(scores[truth == 0] >= at).mean() for at in thresholds])
        rejects = numpy.array([(scores[truth == 1] < at).mean() for at in thresholds])
        difference = numpy.abs(rejects - accepts)
        best = numpy.flatnonzero(difference == difference.min())[-1]
        self.assertAlmostEqual(found["eer"], (accepts[best] + rejects[best]) / 2, places=13)

    def test_scores_are_those_of_scikit_learn(self):
        for steps in (4, 20, 1e6):
            with self.subTest(steps=steps):
                random, scores, flags = self.data(steps=steps)
                context = random.integers(0, 3, (len(scores), 1))
                card = score("verification", {"score": scores}, flags, context=context, keys={"site": ["a", "b", "c", "nobody"]},
                             settings=["threshold=0.6", "false_positive_rates=[0.01,0.1,0.5,1]"])
                known = flags[:, 0] != 255
                truth, told = flags[known, 0], scores[known].astype(float)
                self.check(card, truth, told, 0.6, (0.01, 0.1, 0.5, 1))
                self.assertEqual(card["samples"], known.sum())
                first = card["scores"][0]
                self.assertTrue(first["low"] < first["value"] < first["high"])
                by = groups(card["contexts_by"][0]["contexts"])
                self.assertEqual(list(by), ["a", "b", "c"])
                for i, name in enumerate("abc"):
                    own = context[known, 0] == i
                    accepted = told[own] >= 0.6
                    self.assertAlmostEqual(by[name]["hter"], (accepted[truth[own] == 0].mean() + (~accepted[truth[own] == 1]).mean()) / 2, places=13)

    def test_frames_of_a_video_are_judged_by_their_mean(self):
        random, _, _ = self.data()
        video = random.integers(0, 30, 150)
        flags = (video % 2).astype("uint8")[:, None]
        scores = numpy.clip(0.4 + 0.2 * flags[:, 0] + 0.2 * random.normal(size=150), 0, 1).astype("float32")
        site = video % 3
        keys = {"video": [f"v{i}" for i in range(31)], "site": ["a", "b", "c"]}
        card = score("verification", {"score": scores}, flags, context=numpy.stack([video, site], 1), keys=keys, settings=["mean_by=video"])
        videos = numpy.unique(video)
        means = numpy.array([scores[video == v].astype(float).mean() for v in videos])
        self.check(card, videos % 2, means)
        self.assertEqual(card["samples"], len(videos))
        self.assertEqual([by["contexts"] != [] for by in card["contexts_by"]], [False, True])
        self.assertEqual(sum(one["samples"] for one in card["contexts_by"][1]["contexts"]), len(videos))


class Retrieval(unittest.TestCase):
    def ranks(self, similarity, own):
        """Places of the best of a query's own, ties by number."""
        ranks = []
        for row, mine in zip(similarity, own):
            order = numpy.argsort(-row, kind="stable")
            ranks.append(min((int(numpy.flatnonzero(order == one)[0]) for one in mine), default=len(row)))
        return numpy.array(ranks)

    def test_recalls_and_medians_are_those_of_two_sorts(self):
        random = numpy.random.default_rng(8)
        images = 60
        counts = random.integers(0, 4, images)
        image = random.integers(-2, 3, (images, 5)).astype("float32")
        text = [(image[i] + random.integers(-1, 2, (counts[i], 5))).astype("float32") for i in range(images)]
        row = random.permutation(1000)[:images]
        context = random.integers(0, 2, (images, 1))
        card = score("retrieval", {"image": image, "text": text}, numpy.zeros((images, 1), "int32"), row=row, context=context, keys={"site": ["a", "b"]},
                     settings=["recall_at=[1,3,10]"])
        order = numpy.argsort(row)
        texts = numpy.concatenate([text[i] for i in order])
        owner = numpy.repeat(numpy.arange(images), counts[order])
        similarity = image[order].astype(float) @ texts.T.astype(float)
        forth = self.ranks(similarity, [numpy.flatnonzero(owner == i) for i in range(images)])
        back = self.ranks(similarity.T, [[i] for i in owner])
        found = values(card["scores"])
        by = groups(card["contexts_by"][0]["contexts"])
        for name, ranks, site in (("image_to_text", forth, context[order, 0]), ("text_to_image", back, context[order, 0][owner])):
            for k in (1, 3, 10):
                self.assertAlmostEqual(found[f"{name}_recall_at_{k}"], (ranks < k).mean(), places=14)
                for i, of in enumerate("ab"):
                    self.assertAlmostEqual(by[of][f"{name}_recall_at_{k}"], (ranks[site == i] < k).mean(), places=14)
            self.assertAlmostEqual(found[f"{name}_median_rank"], numpy.median(ranks) + 1, places=12)
        curve = next(one for one in card["curves"] if one["of"] == "text to image")
        for k, recall in curve["points"]:
            self.assertAlmostEqual(recall, (back < k).mean(), places=14)

    def test_one_text_an_image_and_more_queries_than_a_block(self):
        random = numpy.random.default_rng(9)
        image = random.normal(size=(1500, 8)).astype("float32")
        text = (image + 0.7 * random.normal(size=image.shape)).astype("float32")
        card = score("retrieval", {"image": image, "text": text}, numpy.zeros((1500, 1), "int32"), images_per_pass=97)
        similarity = image.astype(float) @ text.T.astype(float)
        ranks = self.ranks(similarity, [[i] for i in range(1500)])
        self.assertAlmostEqual(values(card["scores"])["image_to_text_recall_at_5"], (ranks < 5).mean(), places=14)


class Matching(unittest.TestCase):
    def test_accuracies_are_those_of_loops(self):
        random = numpy.random.default_rng(12)
        answers = {name: [] for name in ("points", "descriptors", "other_points", "other_descriptors")}
        target, expected, matches = [], [], []
        for pair in range(23):
            count = 0 if pair == 4 else int(random.integers(1, 12))
            map_ = numpy.eye(3) + numpy.array([[0.02, 0.01, 1], [0.01, -0.03, 2], [1e-4, 0, 0]]) * random.normal(size=(3, 3))
            points = random.uniform(0, 60, (count, 2)).astype("float32")
            moved = numpy.concatenate([points, numpy.ones((count, 1))], 1) @ map_.astype("float32").astype(float).T
            others = (moved[:, :2] / moved[:, 2:] + 3 * random.normal(size=(count, 2))).astype("float32")
            first = random.integers(-2, 3, (count, 4)).astype("float32")
            second = (first + random.integers(0, 2, first.shape)).astype("float32")
            for name, one in zip(answers, (points, first, others, second)):
                answers[name].append(one)
            target.append(map_.astype("float32").reshape(9))
            similarity = first.astype(float) @ second.T.astype(float)
            pairs = [(i, int(row.argmax())) for i, row in enumerate(similarity) if similarity[:, row.argmax()].argmax() == i]
            errors = [numpy.hypot(*(others[j].astype(float) - moved[i, :2] / moved[i, 2])) for i, j in pairs]
            expected.append([numpy.mean([error <= t for error in errors]) if errors else 0.0 for t in range(1, 11)])
            matches.append(len(pairs))
        target = numpy.stack(target)
        target[9] = numpy.nan
        known = numpy.arange(23) != 9
        context = random.integers(0, 2, (23, 1))
        card = score("matching", answers, target, context=context, keys={"scene": ["wall", "boat"]})
        found = values(card["scores"])
        by = groups(card["contexts_by"][0]["contexts"])
        expected, matches = numpy.array(expected), numpy.array(matches)
        self.assertEqual(card["samples"], 22)
        self.assertEqual(card["scores"][0]["name"], "mma_at_3")
        self.assertAlmostEqual(found["matches"], matches[known].mean(), places=12)
        for t in range(1, 11):
            self.assertAlmostEqual(found[f"mma_at_{t}"], expected[known, t - 1].mean(), places=12)
            for i, name in enumerate(("wall", "boat")):
                own = known & (context[:, 0] == i)
                self.assertAlmostEqual(by[name][f"mma_at_{t}"], expected[own, t - 1].mean(), places=12)


if __name__ == "__main__":
    unittest.main()
