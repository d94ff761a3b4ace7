"""Scorecards of tasks against scikit-learn and scikit-image, on 1 to 4 ranks: ties, classes that are absent, values that are not known, contexts of two keys."""

import unittest
import warnings

import numpy
from scipy.special import expit, log_softmax, softmax
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn import metrics

from score_task import groups, score, values

KEYS = {"hospital": ["a", "b", "nobody"], "scanner": ["x", "y", "z"]}


def contexts(random, images):
    return numpy.stack([random.integers(0, 2, images), random.integers(0, 3, images)], 1)


def each_context(card, context):
    """(scores, images) of every context that the card has, which are those with images."""
    for k, by in enumerate(card["contexts_by"]):
        assert by["key"] == list(KEYS)[k]
        names = KEYS[by["key"]]
        assert [one["name"] for one in by["contexts"]] == [name for i, name in enumerate(names) if (context[:, k] == i).any()]
        for one in by["contexts"]:
            yield one, context[:, k] == names.index(one["name"])


def nan_mean(numbers):
    return numpy.nanmean(numpy.array(numbers, float))


class Tasks(unittest.TestCase):
    def near(self, value, expected, places=11):
        if value is None or expected is None or numpy.isnan(expected):
            self.assertTrue(value is None and (expected is None or numpy.isnan(expected)), f"{value} for {expected}")
        else:
            numpy.testing.assert_allclose(value, expected, rtol=10.0 ** -places, atol=10.0 ** -places)


class Regression(Tasks):
    def data(self, measurements, scale=1.0, offset=0.0, images=60, seed=5):
        random = numpy.random.default_rng(seed)
        target = (offset + scale * random.normal(size=(images, measurements))).astype("float32")
        answers = (target + 0.3 * scale * random.normal(size=target.shape)).astype("float32")
        target[random.random(target.shape) < 0.15] = numpy.nan
        target[7] = numpy.nan
        return random, answers, target

    def expected(self, answers, target):
        scores = []
        for one, other in zip(answers.T.astype(float), target.T.astype(float)):
            known = ~numpy.isnan(other)
            if not known.any():
                scores.append([None] * 3)
                continue
            determination = metrics.r2_score(other[known], one[known]) if known.sum() > 1 else None
            scores.append([metrics.mean_absolute_error(other[known], one[known]), metrics.root_mean_squared_error(other[known], one[known]), determination])
        return scores

    def check(self, scores, expected):
        for name, value in zip(("mae", "rmse", "r2"), expected):
            self.near(scores[name], value)

    def test_scores_are_those_of_scikit_learn(self):
        for measurements in (1, 3):
            random, answers, target = self.data(measurements)
            context = contexts(random, len(answers))
            names = ["age", "weight", "height"][:measurements]
            card = score("regression", {"values": answers}, target, context=context, keys=KEYS, names=names)
            expected = self.expected(answers, target)
            self.check(values(card["scores"]), [nan_mean(column) for column in zip(*expected)])
            self.assertEqual(card["samples"], int((~numpy.isnan(target)).any(1).sum()))
            self.assertEqual([one["name"] for one in card["class_scores"]], names)
            for one, wanted in zip(card["class_scores"], expected):
                self.check(values(one["scores"]), wanted)
            for one, images in each_context(card, context):
                wanted = self.expected(answers[images], target[images])
                self.check(values(one["scores"]), [nan_mean(column) for column in zip(*wanted)])
                self.assertEqual(one["samples"], int((~numpy.isnan(target[images])).any(1).sum()))

    def test_nothing_cancels_and_nothing_is_too_small(self):
        for scale, offset in ((1e-3, 1000.0), (1e-9, 0.0), (1e-9, 3e-6), (3e7, 0.0), (2e12, 1e14)):
            with self.subTest(scale=scale, offset=offset):
                _, answers, target = self.data(1, scale, offset)
                card = score("regression", {"values": answers}, target)
                known = ~numpy.isnan(target[:, 0])
                truth, said = target[known, 0].astype(numpy.longdouble), answers[known, 0].astype(numpy.longdouble)
                squares = ((truth - said) ** 2).sum()
                self.near(values(card["scores"])["r2"], float(1 - squares / ((truth - truth.mean()) ** 2).sum()))
                self.assertAlmostEqual(values(card["scores"])["rmse"] / float(numpy.sqrt(squares / known.sum())), 1, places=11)

    def test_intervals_are_as_wide_as_those_of_a_bootstrap(self):
        random, answers, target = self.data(1, images=400)
        card = score("regression", {"values": answers}, target, images_per_pass=50)
        known = ~numpy.isnan(target[:, 0])
        truth, said = target[known, 0].astype(float), answers[known, 0].astype(float)
        drawn = [random.integers(0, len(truth), len(truth)) for _ in range(2000)]
        for name, function in (("mae", metrics.mean_absolute_error), ("rmse", metrics.root_mean_squared_error), ("r2", metrics.r2_score)):
            low, high = numpy.percentile([function(truth[rows], said[rows]) for rows in drawn], [2.5, 97.5])
            found = next(one for one in card["scores"] if one["name"] == name)
            self.assertAlmostEqual((found["high"] - found["low"]) / (high - low), 1, delta=0.12)
            self.assertTrue(found["low"] < found["value"] < found["high"])

    def test_intervals_of_contexts_are_students(self):
        from scipy import stats
        random, answers, target = self.data(1)
        context = contexts(random, len(answers))
        card = score("regression", {"values": answers}, target, context=context, keys=KEYS)
        for one, images in each_context(card, context):
            errors = numpy.abs(answers[images, 0].astype(float) - target[images, 0].astype(float))
            errors = errors[~numpy.isnan(errors)]
            low, high = stats.t.interval(0.95, len(errors) - 1, errors.mean(), stats.sem(errors))
            self.near(one["scores"][0]["low"], max(0, low))
            self.near(one["scores"][0]["high"], high)

    def test_a_constant_target_has_no_r2(self):
        card = score("regression", {"values": numpy.float32([[1], [2], [4]])}, numpy.float32([[3], [3], [3]]))
        self.assertIsNone(values(card["scores"])["r2"])
        self.near(values(card["scores"])["mae"], 4 / 3)


def flag_expectations(answers, target, threshold):
    """Scores of each flag, by name."""
    found = []
    for logits, flags in zip(answers.T.astype(float), target.T):
        known = flags != 255
        truth, probability = flags[known] == 1, expit(logits[known])
        said = probability >= threshold
        one = {"f1": None, "accuracy": None, "sensitivity": None, "specificity": None, "precision": None, "auroc": None, "average_precision": None}
        if known.any():
            one["accuracy"] = metrics.accuracy_score(truth, said)
        if truth.any() or said.any():
            one["f1"] = metrics.f1_score(truth, said, zero_division=0)
        if said.any():
            one["precision"] = metrics.precision_score(truth, said)
        if truth.any():
            one["sensitivity"] = metrics.recall_score(truth, said)
        if (~truth).any():
            one["specificity"] = metrics.recall_score(~truth, ~said)
        if truth.any() and (~truth).any():
            one["auroc"] = metrics.roc_auc_score(truth, logits[known])
            one["average_precision"] = metrics.average_precision_score(truth, logits[known])
        found.append(one)
    return found


def macro(expectations, name):
    return nan_mean([one[name] for one in expectations])


class Multilabel(Tasks):
    names = ["edema", "nodule", "nobody has", "everybody has", "unknown"]

    def data(self, images=90, seed=3):
        random = numpy.random.default_rng(seed)
        target = (random.random((images, 5)) < [0.5, 0.15, 0, 1, 0.5]).astype("uint8")
        answers = (numpy.round(4 * (random.normal(size=target.shape) + target - 0.5)) / 4).astype("float32")
        target[random.random(target.shape) < 0.1] = 255
        target[:, 4] = 255
        target[11] = 255
        return random, answers, target

    def test_scores_are_those_of_scikit_learn(self):
        for threshold in (0.5, 0.3):
            random, answers, target = self.data()
            context = contexts(random, len(answers))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                card = score("multilabel", {"logits": answers}, target, context=context, keys=KEYS, names=self.names, settings=[f"threshold={threshold}"])
                expected = flag_expectations(answers, target, threshold)
                found = values(card["scores"])
                for name in ("accuracy", "sensitivity", "specificity", "auroc", "average_precision"):
                    self.near(found[name], macro(expected, name))
                self.near(found["f1_macro"], macro(expected, "f1"))
                known = target != 255
                self.near(found["loss"], metrics.log_loss(target[known] == 1, expit(answers[known].astype(float))))
                self.assertEqual(card["samples"], int(known.any(1).sum()))
                for one, wanted, flags in zip(card["class_scores"], expected, target.T):
                    self.assertEqual(one["samples"], int((flags == 1).sum()))
                    for name, value in values(one["scores"]).items():
                        self.near(value, wanted[name])
                for one, images in each_context(card, context):
                    wanted = flag_expectations(answers[images], target[images], threshold)
                    self.assertEqual(one["scores"][0]["name"], "f1_macro")
                    self.near(one["scores"][0]["value"], macro(wanted, "f1"))
                    for name in ("accuracy", "sensitivity", "specificity"):
                        self.near(values(one["scores"])[name], macro(wanted, name))

    def test_curves_have_every_threshold(self):
        _, answers, target = self.data()
        card = score("multilabel", {"logits": answers}, target, names=self.names)
        curves = {(one["kind"], one["of"]): numpy.array(one["points"]) for one in card["curves"]}
        self.assertEqual({of for _, of in curves}, {"edema", "nodule"})
        for i, name in enumerate(self.names[:2]):
            known = target[:, i] != 255
            truth, logits = target[known, i] == 1, answers[known, i]
            rates = metrics.roc_curve(truth, logits, drop_intermediate=False)[:2]
            numpy.testing.assert_allclose(curves["roc", name], numpy.stack(rates, 1), atol=1e-15)
            precision, recall, _ = metrics.precision_recall_curve(truth, logits)
            numpy.testing.assert_allclose(curves["precision_recall", name], numpy.stack([recall, precision], 1)[::-1], atol=1e-15)

    def test_points_of_thinned_curves_are_exact(self):
        random = numpy.random.default_rng(1)
        target = (random.random((6000, 1)) < 0.1).astype("uint8")
        answers = (random.normal(size=target.shape) + target).astype("float32")
        card = score("multilabel", {"logits": answers}, target, names=["rare"], images_per_pass=500)
        found = {one["kind"]: numpy.array(one["points"]) for one in card["curves"]}
        precision, recall, _ = metrics.precision_recall_curve(target[:, 0], answers[:, 0])
        rates = metrics.roc_curve(target[:, 0], answers[:, 0], drop_intermediate=False)[:2]
        for kind, points in (("roc", zip(*rates)), ("precision_recall", zip(recall, precision))):
            exact = {(round(x, 12), round(y, 12)) for x, y in points}
            self.assertLessEqual(len(found[kind]), 200)
            self.assertGreater(len(found[kind]), 100)
            self.assertLessEqual({(round(x, 12), round(y, 12)) for x, y in found[kind]}, exact)
        self.near(metrics.auc(*found["roc"].T), metrics.roc_auc_score(target, answers), places=2)
        self.near(values(card["class_scores"][0]["scores"])["average_precision"], metrics.average_precision_score(target, answers))

    def test_cases_are_the_surest_errors(self):
        _, answers, target = self.data()
        card = score("multilabel", {"logits": answers}, target, row=numpy.arange(len(target)) * 3, names=self.names)
        probability = expit(answers.astype(float))
        wrong = (target != 255) & ((probability >= 0.5) != (target == 1))
        surest = numpy.where(wrong, expit(numpy.abs(answers.astype(float))), 0).max(1)  # 1 - p would part ties
        expected = sorted((-surest[i], 3 * i) for i in range(len(target)) if surest[i] > 0)[:24]
        self.assertEqual([one["row"] for one in card["cases"]], [row for _, row in expected])

    def test_intervals_of_areas_hold_them(self):
        _, answers, target = self.data()
        card = score("multilabel", {"logits": answers}, target, names=self.names)
        for scores in (card["scores"], card["class_scores"][0]["scores"]):
            for one in scores:
                if one["name"] in ("auroc", "average_precision", "f1_macro", "accuracy"):
                    self.assertLess(one["low"], one["value"], one["name"])
                    self.assertGreater(one["high"], one["value"], one["name"])


class Classification(Tasks):
    def data(self, classes, images=120, seed=9):
        random = numpy.random.default_rng(seed)
        labels = random.integers(0, classes, images).astype("int32")
        if classes > 3:
            labels[labels == 2] = 0  # nobody has the third class
        logits = (numpy.round(2 * random.normal(size=(images, classes))) / 2).astype("float32")
        logits[numpy.arange(images), labels] += 1
        labels[random.random(images) < 0.1] = -1
        return random, logits, labels

    def test_scores_are_those_of_scikit_learn(self):
        for classes in (2, 3, 5):
            random, logits, labels = self.data(classes)
            names = [f"class {i}" for i in range(classes)]
            context = contexts(random, len(labels))
            card = score("classification", {"logits": logits}, labels, context=context, keys=KEYS, names=names, settings=["threshold=0.4"])
            known = labels >= 0
            truth, said = labels[known], logits[known].argmax(1)
            probability = softmax(logits[known].astype(float), 1)
            found = values(card["scores"])
            self.assertEqual(card["scores"][0]["name"], "accuracy")
            self.near(found["accuracy"], metrics.accuracy_score(truth, said))
            self.near(found["balanced_accuracy"], metrics.balanced_accuracy_score(truth, said))
            self.near(found["kappa"], metrics.cohen_kappa_score(truth, said))
            self.near(found["f1_weighted"], metrics.f1_score(truth, said, average="weighted", zero_division=0))
            self.near(found["loss"], metrics.log_loss(truth, probability, labels=range(classes)))
            if classes == 2:
                self.near(found["sensitivity"], metrics.recall_score(truth == 1, probability[:, 1] >= 0.4))
                self.near(found["specificity"], metrics.recall_score(truth == 0, probability[:, 1] < 0.4))
            for i, one in enumerate(card["class_scores"]):
                self.check_class(one, truth == i, said == i, logits[known].astype(float), i)
            for one, images in each_context(card, context):
                mine = images[known]
                self.near(one["scores"][0]["value"], metrics.accuracy_score(truth[mine], said[mine]))

    def check_class(self, found, truth, said, logits, i):
        scores = values(found["scores"])
        self.assertEqual(found["samples"], int(truth.sum()))
        self.near(scores["precision"], metrics.precision_score(truth, said) if said.any() else None)
        self.near(scores["specificity"], metrics.recall_score(~truth, ~said))
        ranking = logits[:, i] - logits[:, 1 - i] if logits.shape[1] == 2 else log_softmax(logits, 1)[:, i]
        if truth.any():
            self.near(scores["sensitivity"], metrics.recall_score(truth, said))
            self.near(scores["f1"], metrics.f1_score(truth, said))
            # Equal probabilities differ by rounding between two ways of computing them, so that ties are looked at in those of two classes alone.
            places = 11 if logits.shape[1] == 2 else 2
            self.near(scores["auroc"], metrics.roc_auc_score(truth, ranking), places)
            self.near(scores["average_precision"], metrics.average_precision_score(truth, ranking), places)
        else:
            self.assertIsNone(scores["auroc"])

    def test_curves_bins_and_cases(self):
        _, logits, labels = self.data(2)
        card = score("classification", {"logits": logits}, labels, names=["no", "yes"])
        curves = {one["kind"]: one for one in card["curves"]}
        known = numpy.flatnonzero(labels >= 0)
        margin = logits[known, 1] - logits[known, 0]
        rates = metrics.roc_curve(labels[known] == 1, margin, drop_intermediate=False)[:2]
        self.assertEqual(curves["roc"]["of"], "yes")
        numpy.testing.assert_allclose(curves["roc"]["points"], numpy.stack(rates, 1), atol=1e-15)
        probability = softmax(logits[known].astype(float), 1)
        confidence, right = probability.max(1), probability.argmax(1) == labels[known]
        place = numpy.clip(numpy.ceil(confidence * 15) - 1, 0, 14)
        points = [[confidence[place == i].mean(), right[place == i].mean()] for i in range(15) if (place == i).any()]
        numpy.testing.assert_allclose(curves["reliability"]["points"], points, atol=1e-12)
        self.assertEqual([y for _, y in curves["confidence_histogram"]["points"]], [int((place == i).sum()) for i in range(15)])
        wrong = sorted((-round(confidence[i], 12), int(row)) for i, row in enumerate(known) if not right[i])[:24]
        self.assertEqual(len(card["cases"]), len(wrong))
        self.assertEqual([one["row"] for one in card["cases"]][:3], [row for _, row in wrong][:3])


class Restoration(Tasks):
    def images(self, shape, scale, kind, seed=2):
        random = numpy.random.default_rng(seed)
        target = (scale * random.random((9, *shape))).astype(kind)
        answers = (target + 0.1 * scale * random.normal(size=target.shape)).astype("float32")
        answers[4] = target[4]
        return random, answers, target

    def check(self, shape, scale, kind, settings=()):
        random, answers, target = self.images(shape, scale, kind)
        context = contexts(random, len(target))
        card = score("restoration", {"image": answers}, target, context=context, keys=KEYS, images_per_pass=2, settings=settings)
        pairs = list(zip(target.astype(float), answers.astype(float)))
        ratio = numpy.array([100.0 if (a == b).all() else peak_signal_noise_ratio(a, b, data_range=scale) for a, b in pairs])
        similarity = numpy.array([structural_similarity(a, b, data_range=scale, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
                                  if min(shape[1:]) >= 11 else numpy.nan for a, b in pairs])
        found = values(card["scores"])
        self.near(found["psnr"], ratio.mean())
        self.near(found["ssim"], similarity.mean(), 9)
        self.near(found["mae"], numpy.abs(target.astype(float) - answers).mean())
        for one, images in each_context(card, context):
            self.near(one["scores"][0]["value"], ratio[images].mean())
        self.assertEqual(card["cases"][0]["row"], int(ratio.argmin()))

    def test_scores_are_those_of_scikit_image(self):
        self.check((3, 24, 19), 255, "uint8")
        self.check((1, 16, 16), 1, "float32")
        self.check((2, 12, 13), 40, "float32", ["data_range=40"])

    def test_volumes_have_windows_of_three_dimensions(self):
        self.check((1, 12, 14, 13), 1, "float32")

    def test_images_smaller_than_a_window_have_no_similarity(self):
        self.check((1, 10, 20), 1, "float32")


if __name__ == "__main__":
    unittest.main()
