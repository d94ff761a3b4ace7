// Scores that are counted pass by pass are those of all answers at once, on any number of ranks.
#include "eval/running_scores.h"

#include <algorithm>
#include <cmath>
#include <malloc.h>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

#include "eval/ranking.h"
#include "support/ranks.h"

namespace cohort::eval {
namespace {

using Labels = std::vector<std::int32_t>;

/// Images with answers: every seventh without a label, many with equal logits.
struct Images {
  at::Tensor logits;  // [N, classes]
  Labels labels, contexts;
};

Images images_of(std::int64_t count, std::int64_t classes, std::int32_t contexts) {
  Images images{at::empty({count, classes}), {}, {}};
  auto* logit = images.logits.mutable_data_ptr<float>();
  RandomStream random({.seed = 11, .purpose = Purpose::synthetic});
  for (std::int64_t i = 0; i < count; ++i) {
    const auto label = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(classes)));
    images.labels.push_back(i % 7 == 3 ? -1 : label);
    images.contexts.push_back(static_cast<std::int32_t>(i * contexts / count));
    for (std::int64_t c = 0; c < classes; ++c)
      *logit++ = static_cast<float>(random.below(9)) / 4 + (c == label ? 0.5F : 0.0F);
  }
  return images;
}

/// Blocks of rows of the images, each on one rank, in no order.
RunningScores counted(const Images& images, std::size_t contexts, const comm::Communicator& ranks) {
  constexpr std::int64_t kBlock = 37;
  const std::int64_t rows = images.logits.size(0), blocks = (rows + kBlock - 1) / kBlock;
  RunningScores scores(images.logits.size(1), contexts, rows);
  for (std::int64_t i = 0; i < blocks; ++i) {
    const std::int64_t block = blocks - 1 - i, first = block * kBlock, count = std::min(kBlock, rows - first);
    if (block % ranks.size() != ranks.rank()) continue;
    const auto part = [&](const Labels& column) {
      return std::span(column).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
    };
    scores.add(images.logits.narrow(0, first, count), at::arange(first, first + count), part(images.labels),
               contexts == 0 ? std::span<const std::int32_t>() : part(images.contexts));
  }
  return scores;
}

void expect_equal(const Scores& scores, const Scores& all) {
  EXPECT_EQ(scores.images, all.images);
  EXPECT_EQ(scores.confusion, all.confusion);
  EXPECT_EQ(scores.accuracy, all.accuracy);
  EXPECT_EQ(scores.accuracy_interval.low, all.accuracy_interval.low);
  EXPECT_EQ(scores.accuracy_interval.high, all.accuracy_interval.high);
  EXPECT_EQ(scores.balanced_accuracy, all.balanced_accuracy);
  EXPECT_EQ(scores.f1_macro, all.f1_macro);
  EXPECT_EQ(scores.f1_weighted, all.f1_weighted);
  EXPECT_EQ(scores.kappa, all.kappa);
  EXPECT_EQ(scores.majority, all.majority);
  ASSERT_EQ(scores.auc.has_value(), all.auc.has_value());
  if (all.auc) {
    EXPECT_EQ(*scores.auc, *all.auc);
  }
  ASSERT_EQ(scores.auc_interval.has_value(), all.auc_interval.has_value());
  if (all.auc_interval) {
    EXPECT_EQ(scores.auc_interval->low, all.auc_interval->low);
    EXPECT_EQ(scores.auc_interval->high, all.auc_interval->high);
  }
  // Sums of fractions: rounded once here, and after each image there.
  EXPECT_NEAR(scores.loss, all.loss, 1e-13);
  EXPECT_NEAR(scores.confidence, all.confidence, 1e-13);
  EXPECT_NEAR(scores.calibration_error, all.calibration_error, 1e-13);
  ASSERT_EQ(scores.contexts.size(), all.contexts.size());
  for (std::size_t i = 0; i < all.contexts.size(); ++i) {
    EXPECT_EQ(scores.contexts[i].context, all.contexts[i].context);
    EXPECT_EQ(scores.contexts[i].images, all.contexts[i].images);
    EXPECT_EQ(scores.contexts[i].accuracy, all.contexts[i].accuracy);
    EXPECT_EQ(scores.contexts[i].low, all.contexts[i].low);
    EXPECT_NEAR(scores.contexts[i].confidence, all.contexts[i].confidence, 1e-13);
  }
}

TEST(RunningScores, AreThoseOfAllAnswersAtOnce) {
  comm::Communicator world = test::world();
  const std::vector<std::string> names{"a", "b", "c", "without images"};
  for (const std::int64_t classes : {2, 5}) {
    const Images images = images_of(900, classes, 3);
    expect_equal(counted(images, names.size(), world).finish(names, world),
                 score(images.logits, images.labels, images.contexts, names));
    expect_equal(counted(images, 0, world).finish({}, world), score(images.logits, images.labels, {}, {}));
  }
}

TEST(RunningScores, HaveTheSameBitsOnAnyNumberOfRanks) {
  comm::Communicator world = test::world();
  comm::Communicator alone = world.split(world.rank(), "alone");
  const Images images = images_of(900, 3, 1);
  const Scores together = counted(images, 0, world).finish({}, world),
               single = counted(images, 0, alone).finish({}, alone);
  EXPECT_EQ(together.loss, single.loss);
  EXPECT_EQ(together.confidence, single.confidence);
  EXPECT_EQ(together.calibration_error, single.calibration_error);
}

TEST(RunningScores, RefuseWhatCannotBeScored) {
  comm::Communicator world = test::world();
  Images images = images_of(60, 2, 1);
  images.labels.assign(60, -1);
  EXPECT_THROW((void)counted(images, 0, world).finish({}, world), DataError);
  images = images_of(60, 2, 1);
  images.logits[59][0] = INFINITY;  // on one rank alone
  EXPECT_THROW((void)counted(images, 0, world).finish({}, world), NumericalError);
}

// Two columns of numbers, of which the first has more equal ones than are ever sorted together.
TEST(SpilledRankings, CountEveryPairOfMoreThanAreSortedTogether) {
  comm::Communicator world = test::world();
  const std::int64_t rows = 5 * SpilledRankings::kTogether / 2;
  SpilledRankings rankings(2);
  std::vector<double> first, second;
  const auto positive = std::make_unique<bool[]>(static_cast<std::size_t>(rows));
  RandomStream random({.seed = 3, .purpose = Purpose::synthetic});
  for (std::int64_t i = 0; i < rows; ++i) {
    positive[static_cast<std::size_t>(i)] = random.below(3) == 0;
    first.push_back(i % 2 == 0 ? -0.25 : random.normal());
    second.push_back(random.normal() * (i % 5 == 0 ? 1e-9 : 1e3));
  }
  constexpr std::int64_t kBlock = 4099;
  for (std::int64_t begin = kBlock * world.rank(); begin < rows; begin += kBlock * world.size()) {
    const std::int64_t count = std::min(kBlock, rows - begin);
    at::Tensor values = at::empty({count, 2}, at::kDouble);
    Labels labels;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto row = static_cast<std::size_t>(begin + i);
      values.mutable_data_ptr<double>()[2 * i] = first[row];
      values.mutable_data_ptr<double>()[2 * i + 1] = second[row];
      labels.push_back(positive[row] ? 7 : 0);
    }
    rankings.add(values, labels);
  }
  const std::span<const bool> is_positive(positive.get(), static_cast<std::size_t>(rows));
  const auto positives = std::count(is_positive.begin(), is_positive.end(), true);

  const auto by_first = rankings.area(0, 7, positives, rows - positives, world),
             by_second = rankings.area(1, 7, positives, rows - positives, world);

  EXPECT_EQ(by_first->area, *Ranking(first, is_positive).area());
  EXPECT_EQ(by_second->area, *Ranking(second, is_positive).area());
  EXPECT_FALSE(rankings.area(0, 8, 0, rows, world)) << "without positive images";
}

/// The variance of DeLong et al. from every pair.
double variance_of_pairs(const std::vector<double>& values, const Labels& labels) {
  std::vector<double> of_positive, of_negative;
  for (std::size_t i = 0; i < values.size(); ++i) {
    double won = 0, others = 0;
    for (std::size_t j = 0; j < values.size(); ++j) {
      if (labels[j] == labels[i]) continue;
      ++others;
      won += values[i] == values[j] ? 0.5 : (values[i] > values[j]) == (labels[i] == 1) ? 1.0 : 0.0;
    }
    (labels[i] == 1 ? of_positive : of_negative).push_back(won / others);
  }
  const auto part = [](const std::vector<double>& of) {
    const auto n = static_cast<double>(of.size());
    const double mean = std::accumulate(of.begin(), of.end(), 0.0) / n;
    double sum = 0;
    for (const double value : of) sum += (value - mean) * (value - mean);
    return sum / (n - 1) / n;
  };
  return part(of_positive) + part(of_negative);
}

TEST(SpilledRankings, TheIntervalIsThatOfAllPairs) {
  comm::Communicator world = test::world();
  std::vector<double> values;
  Labels labels;
  RandomStream random({.seed = 5, .purpose = Purpose::synthetic});
  for (int i = 0; i < 120; ++i) {
    labels.push_back(random.below(3) == 0 ? 1 : 0);
    values.push_back(std::round(2 * random.normal()) + labels.back());
  }
  SpilledRankings rankings(1);
  if (world.rank() == 0) rankings.add(at::tensor(values, at::kDouble).unsqueeze(1), labels);
  const auto positives = std::count(labels.begin(), labels.end(), 1);

  const auto area = rankings.area(0, 1, positives, std::ssize(labels) - positives, world);

  const double half = 1.959963984540054 * std::sqrt(variance_of_pairs(values, labels));
  EXPECT_NEAR(area->interval->low, std::max(0.0, area->area - half), 1e-12);
  EXPECT_NEAR(area->interval->high, std::min(1.0, area->area + half), 1e-12);
}

TEST(SpilledRankings, OneImageOfASideHasNoVariance) {
  comm::Communicator world = test::world();
  SpilledRankings rankings(1);
  if (world.rank() == 0) rankings.add(at::arange(4, at::kDouble).unsqueeze(1), Labels{0, 0, 1, 0});

  const auto area = rankings.area(0, 1, 1, 3, world);

  EXPECT_DOUBLE_EQ(area->area, 2.0 / 3);
  EXPECT_FALSE(area->interval);
}

/// Bytes that the process holds on its heap.
std::size_t held() {
  const struct mallinfo2 now = mallinfo2();
  return now.uordblks + now.hblkhd;
}

// Of more images than are resampled, nothing is held but counts and what is about to be written.
TEST(RunningScores, HoldNoMoreOfFourTimesTheImages) {
  constexpr std::int64_t kPass = 8192, kSome = 250;
  const Images images = images_of(kPass, 2, 1);
  const at::Tensor rows = at::arange(kPass);
  RunningScores scores(2, 0, RunningScores::kResampled + 1);
  const auto add = [&](std::int64_t passes) {
    for (std::int64_t i = 0; i < passes; ++i) scores.add(images.logits, rows, images.labels, {});
    return held();
  };
  const std::size_t of_some = add(kSome), of_four_times = add(3 * kSome);
  constexpr std::size_t kBuffers = std::size_t{8} << 20;  // 4 MiB, which may be twice that when they grow
  EXPECT_LT(of_four_times, of_some + kBuffers);
  constexpr std::size_t kImage = 12;  // bytes of a label and a number: what would be held otherwise
  static_assert(3 * kSome * kPass * kImage > 4 * kBuffers);
}

TEST(RunningScores, OfManyImagesHaveTheIntervalThatSamplesApproach) {
  comm::Communicator world = test::world();
  const Images images = images_of(4000, 2, 1);
  RunningScores few(2, 0, 4000), many(2, 0, RunningScores::kResampled + 1);
  for (RunningScores* scores : {&few, &many})
    if (world.rank() == 0) scores->add(images.logits, at::arange(4000), images.labels, {});

  const Scores resampled = few.finish({}, world), counted = many.finish({}, world);

  constexpr double kNoise = 4e-3;  // of a percentile of 1,000 samples: 0.08 deviations, which are 0.01 here
  EXPECT_EQ(resampled.accuracy, counted.accuracy);
  EXPECT_EQ(resampled.auc, counted.auc);
  EXPECT_NEAR(resampled.accuracy_interval.low, counted.accuracy_interval.low, kNoise);
  EXPECT_NEAR(resampled.accuracy_interval.high, counted.accuracy_interval.high, kNoise);
  EXPECT_NEAR(resampled.auc_interval->low, counted.auc_interval->low, kNoise);
  EXPECT_NEAR(resampled.auc_interval->high, counted.auc_interval->high, kNoise);
}

TEST(RunningScores, OfManyImagesThatAreAllRightHaveAnIntervalOfOne) {
  comm::Communicator world = test::world();
  RunningScores scores(2, 0, RunningScores::kResampled + 1);
  scores.add(at::eye(2), at::arange(2) + 2 * world.rank(), Labels{0, 1}, {});

  const Scores all = scores.finish({}, world);

  EXPECT_EQ(all.accuracy_interval.low, 1.0);
  EXPECT_EQ(all.accuracy_interval.high, 1.0);
}

// Losses of 10¹⁰, which are too large for sums of whole units, on every rank.
TEST(RunningScores, AddUpTheLargestLossesOfAllRanks) {
  comm::Communicator world = test::world();
  RunningScores scores(2, 0, 2 * world.size());
  scores.add(at::eye(2) * -1e10, at::arange(2) + 2 * world.rank(), Labels{0, 1}, {});

  EXPECT_EQ(scores.finish({}, world).loss, 1e10);
}

}  // namespace
}  // namespace cohort::eval
