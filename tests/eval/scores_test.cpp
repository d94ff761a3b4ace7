#include "cohort/eval/scores.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/printable.h"
#include "cohort/core/random.h"
#include "cohort/eval/evaluation.h"

#include "support/even.h"

namespace cohort::eval {
namespace {

using Labels = std::vector<std::int32_t>;
const std::vector<std::string> kNoNames;

at::Tensor logits_of_margins(const std::vector<float>& margins) {
  at::Tensor logits = at::zeros({static_cast<std::int64_t>(margins.size()), 2});
  for (std::size_t i = 0; i < margins.size(); ++i) logits[static_cast<std::int64_t>(i)][1] = margins[i];
  return logits;
}

/// Pairs of one image of each class in which the positive one has the larger margin; ties count one half.
double brute_force_auc(const std::vector<float>& margins, const Labels& labels) {
  double won = 0, pairs = 0;
  for (std::size_t i = 0; i < margins.size(); ++i) {
    for (std::size_t j = 0; j < margins.size(); ++j) {
      if (labels[i] != 1 || labels[j] != 0) continue;
      ++pairs;
      won += margins[i] > margins[j] ? 1.0 : margins[i] == margins[j] ? 0.5 : 0.0;
    }
  }
  return won / pairs;
}

TEST(EvaluationTable, OfManyContextsShowsTheWorstAndTheBest) {
  Evaluation evaluation{"test", "kind", {"a", "b"}, "site", {}};
  for (int i = 0; i < 5000; ++i)
    evaluation.scores.contexts.push_back({fmt::format("site {}", i), 10, i / 5000.0, 0, 1, 0.5});
  const std::string table = evaluation_table(evaluation, false);
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 2 + 24 + 1 + 2);
  EXPECT_NE(table.find("\nsite 0 "), std::string::npos);
  EXPECT_NE(table.find("\n… 4,976 more\n"), std::string::npos) << table;
  EXPECT_NE(table.find("\nsite 4999 "), std::string::npos);
  const std::string all = evaluation_table(evaluation, true);
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 2 + 5000 + 2);
}

TEST(EvaluationTable, FitsANarrowTerminal) {
  Evaluation evaluation{"test", "kind", {"a", "b"}, "site", {}};
  evaluation.scores.auc = 0.8;
  evaluation.images_per_second = 12345;
  evaluation.scores.contexts = {{std::string(35, 'x'), 10, 0.5, 0, 1, 0.5}};
  for (const std::size_t columns : {48U, 60U, 75U, 80U}) {
    std::istringstream lines(evaluation_table(evaluation, false, columns));
    for (std::string line; std::getline(lines, line);) EXPECT_LE(display_width(line), columns) << line;
    EXPECT_LE(display_width(evaluation_line(evaluation).text(columns)), columns);
  }
  EXPECT_NE(evaluation_table(evaluation, false, 80).find("confidence"), std::string::npos);
  const std::string narrow = evaluation_table(evaluation, false, 60);
  EXPECT_EQ(narrow.find("confidence"), std::string::npos);
  EXPECT_NE(narrow.find("95 % interval"), std::string::npos);
}

TEST(EvaluationTable, NamesOfOthersStayInTheirCells) {
  Evaluation evaluation{"te\x1b[2Jst", "kind", {"a", "b"}, "site", {}};
  evaluation.scores.contexts = {{"two\nlines\x07", 10, 0.5, 0, 1, 0.5},
                                {std::string(300, 'x'), 10, 0.5, 0, 1, 0.5}};
  const std::string table = evaluation_table(evaluation, false);
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 2 + 2 + 2) << table;
  EXPECT_EQ(table.find('\x1b'), std::string::npos);
  EXPECT_NE(table.find("\ntwo\\nlines\\x07 "), std::string::npos) << table;
  EXPECT_EQ(table.find(std::string(50, 'x')), std::string::npos);
  EXPECT_EQ(evaluation_line(evaluation).text().find('\n'), std::string::npos);
}

TEST(Scores, AucEqualsCountingAllPairsWithTies) {
  RandomStream random({.seed = 3, .purpose = Purpose::synthetic});
  std::vector<float> margins;
  Labels labels;
  for (int i = 0; i < 200; ++i) {
    labels.push_back(random.below(3) == 0 ? 1 : 0);
    margins.push_back(static_cast<float>(random.below(12)) + 3 * static_cast<float>(labels.back()));
  }

  const Scores scores = score(logits_of_margins(margins), labels, {}, kNoNames);

  ASSERT_TRUE(scores.auc.has_value());
  EXPECT_NEAR(*scores.auc, brute_force_auc(margins, labels), 1e-12);
  EXPECT_GT(*scores.auc, 0.55);
}

TEST(Scores, AucOfOneClassIsAbsent) {
  EXPECT_FALSE(score(logits_of_margins({1, 2, 3}), Labels{1, 1, 1}, {}, kNoNames).auc.has_value());
  EXPECT_FALSE(score(at::zeros({3, 3}), Labels{2, 2, 2}, {}, kNoNames).auc.has_value());
}

// scikit-learn 1.9.1: roc_auc_score(labels, softmax(logits), multi_class="ovr"), f1_score, cohen_kappa_score,
// balanced_accuracy_score, confusion_matrix.
TEST(Scores, ThreeClassesAreThoseOfScikitLearn) {
  const at::Tensor logits =
      at::tensor({2.0, 0.5, -1.0, 0.1, 0.3,  0.2, -0.5, 1.5, 0.7,  1.2, 1.1, -0.3, 0.0, -0.8,
                  1.9, 0.6, 0.4,  0.5, -1.2, 0.9, 1.0,  0.8, -0.1, 0.2, 0.3, 1.7,  -0.4})
          .view({9, 3});
  const Labels labels{0, 1, 1, 1, 2, 2, 2, 0, 0};

  const Scores scores = score(logits, labels, {}, kNoNames);

  EXPECT_NEAR(scores.auc.value(), 0.842592592593, 1e-9);
  EXPECT_NEAR(scores.f1_macro, 0.679365079365, 1e-9);
  EXPECT_NEAR(scores.f1_weighted, 0.679365079365, 1e-9);
  EXPECT_NEAR(scores.kappa, 0.500000000000, 1e-9);
  EXPECT_NEAR(scores.balanced_accuracy, 0.666666666667, 1e-9);
  EXPECT_EQ(scores.confusion, (std::vector<std::int64_t>{2, 1, 0, 1, 2, 0, 1, 0, 2}));
}

// Classes of one size would hide what weighs by labels and what by answers. Of four images of the first class
// three are right, of two of the second both.
TEST(Scores, UnequalClassesByHand) {
  const Scores scores =
      score(logits_of_margins({-1, -1, -1, 1, 1, 1}), Labels{0, 0, 0, 0, 1, 1}, {}, kNoNames);

  const double first = 6.0 / 7, second = 4.0 / 5;
  EXPECT_NEAR(scores.f1_macro, (first + second) / 2, 1e-12);
  EXPECT_NEAR(scores.f1_weighted, (4 * first + 2 * second) / 6, 1e-12);
  EXPECT_NEAR(scores.kappa, (5.0 / 6 - 0.5) / (1 - 0.5), 1e-12) << "by chance (4 * 3 + 2 * 3) / 36";
  EXPECT_NEAR(scores.balanced_accuracy, (3.0 / 4 + 1) / 2, 1e-12);
  EXPECT_NEAR(scores.majority, 4.0 / 6, 1e-12);
}

TEST(Scores, CalibrationErrorByHand) {
  // Two answers of probability 0.5, one of them right; one of e²/(1 + e²), wrong.
  const double sure = std::exp(2.0) / (1 + std::exp(2.0));

  const Scores scores = score(logits_of_margins({0, 0, 2}), Labels{0, 1, 0}, {}, kNoNames);

  EXPECT_NEAR(scores.calibration_error, sure / 3, 1e-12);
}

TEST(Scores, KappaOfOneClassIsZero) {
  EXPECT_EQ(score(logits_of_margins({1, 2, 3}), Labels{1, 1, 1}, {}, kNoNames).kappa, 0);
}

// An accuracy of 0.8 of 400 images: 1.96 · √(0.8 · 0.2 / 400) = 0.0392 to each side. The area's deviation by
// J. A. Hanley and B. J. McNeil, 1982.
TEST(Scores, BootstrapIntervalsAreNearThoseOfFormulas) {
  RandomStream random({.seed = 9, .purpose = Purpose::synthetic});
  std::vector<float> margins;
  Labels labels;
  for (int i = 0; i < 400; ++i) {
    labels.push_back(i % 2);
    margins.push_back(static_cast<float>(random.normal()) + (labels.back() == 1 ? 0.84F : -0.84F));
  }

  const Scores scores = score(logits_of_margins(margins), labels, {}, kNoNames);

  const double half = 1.96 * std::sqrt(scores.accuracy * (1 - scores.accuracy) / 400);
  EXPECT_NEAR(scores.accuracy_interval.low, scores.accuracy - half, 0.006);
  EXPECT_NEAR(scores.accuracy_interval.high, scores.accuracy + half, 0.006);
  const double a = scores.auc.value(), q1 = a / (2 - a), q2 = 2 * a * a / (1 + a);
  const double deviation =
      std::sqrt((a * (1 - a) + 199 * (q1 - a * a) + 199 * (q2 - a * a)) / (200.0 * 200.0));
  ASSERT_TRUE(scores.auc_interval.has_value());
  EXPECT_NEAR(scores.auc_interval->high - scores.auc_interval->low, 2 * 1.96 * deviation, 0.5 * deviation);
  EXPECT_LT(scores.auc_interval->low, a);
  EXPECT_GT(scores.auc_interval->high, a);
}

// 1,000 samples, each as many images as there are, of the stream (bootstrap, sample); percentiles 2.5 and
// 97.5 of their accuracies.
TEST(Scores, BootstrapIntervalsAreThoseOfSamplesDrawnByHand) {
  constexpr std::size_t kImages = 37, kRight = 23;
  std::vector<float> margins(kImages, -1.0F);
  const Labels labels(kImages, 1);
  std::fill_n(margins.begin() + 5, kRight, 1.0F);
  std::vector<double> accuracies;
  std::vector<std::int64_t> first_drawn(kImages);
  for (std::int64_t sample = 0; sample < 1000; ++sample) {
    RandomStream random({.purpose = Purpose::bootstrap, .sample = sample});
    int right = 0;
    for (std::size_t i = 0; i < kImages; ++i) {
      const std::uint64_t drawn = random.below(kImages);
      if (i == 0) ++first_drawn[drawn];
      right += drawn >= 5 && drawn < 5 + kRight ? 1 : 0;
    }
    accuracies.push_back(right / static_cast<double>(kImages));
  }
  std::sort(accuracies.begin(), accuracies.end());

  const Scores scores = score(logits_of_margins(margins), labels, {}, kNoNames);

  EXPECT_DOUBLE_EQ(scores.accuracy_interval.low, accuracies[25]);
  EXPECT_DOUBLE_EQ(scores.accuracy_interval.high, accuracies[974]);
  testing::expect_as_likely(first_drawn, std::vector<double>(kImages, 1.0 / kImages));
}

TEST(Scores, CountsByHand) {
  // Class 0 three times (2 right), class 1 once (right), class 2 absent; one image without a label.
  const at::Tensor logits =
      at::tensor({2.f, 0.f, 0.f, 2.f, 0.f, 0.f, 0.f, 2.f, 0.f, 0.f, 2.f, 0.f, 9.f, 0.f, 0.f}).view({5, 3});
  const Labels labels{0, 0, 0, 1, -1};

  const Scores scores = score(logits, labels, {}, kNoNames);

  const double right = std::exp(2.0) / (std::exp(2.0) + 2.0), wrong = 1.0 / (std::exp(2.0) + 2.0);
  EXPECT_EQ(scores.images, 4);
  EXPECT_DOUBLE_EQ(scores.accuracy, 0.75);
  EXPECT_DOUBLE_EQ(scores.balanced_accuracy, (2.0 / 3.0 + 1.0) / 2);
  EXPECT_DOUBLE_EQ(scores.majority, 0.75);
  EXPECT_NEAR(scores.confidence, right, 1e-12);
  EXPECT_NEAR(scores.loss, -(3 * std::log(right) + std::log(wrong)) / 4, 1e-12);
}

TEST(Scores, WilsonIntervalsOfContexts) {
  // 8 of 10 right in "b", 1 of 1 in "d". The interval's ends solve (p - accuracy)² = z² p (1 - p) / n.
  std::vector<float> margins(11, 1.f);
  Labels labels(11, 1), contexts(11, 1);
  labels[0] = labels[1] = 0;
  contexts[10] = 3;
  const std::vector<std::string> names{"a", "b", "c", "d"};

  const Scores scores = score(logits_of_margins(margins), labels, contexts, names);

  ASSERT_EQ(scores.contexts.size(), 2u);
  const ContextScore& b = scores.contexts[0];
  EXPECT_EQ(b.context, "b");
  EXPECT_EQ(b.images, 10);
  EXPECT_DOUBLE_EQ(b.accuracy, 0.8);
  const double z = 1.959963984540054;
  for (const double p : {b.low, b.high}) EXPECT_NEAR((p - 0.8) * (p - 0.8), z * z * p * (1 - p) / 10, 1e-12);
  EXPECT_NEAR(b.low, 0.4902, 5e-5);  // R: prop.test(8, 10, correct = FALSE)
  EXPECT_NEAR(b.high, 0.9433, 5e-5);
  EXPECT_EQ(scores.contexts[1].context, "d");
  EXPECT_DOUBLE_EQ(scores.contexts[1].high, 1.0);
  ASSERT_NE(scores.worst(), nullptr);
  EXPECT_EQ(scores.worst()->context, "b");
}

TEST(Scores, RefusesAnswersThatAreNoNumbers) {
  EXPECT_THROW(score(logits_of_margins({1, std::nanf("")}), Labels{0, 1}, {}, kNoNames), NumericalError);
}

TEST(Scores, RefusesImagesWithoutLabels) {
  EXPECT_THROW(score(at::zeros({2, 2}), Labels{-1, -1}, {}, kNoNames), DataError);
}

}  // namespace
}  // namespace cohort::eval
