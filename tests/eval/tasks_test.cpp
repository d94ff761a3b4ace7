// Tasks against direct formulas, on any number of ranks; against scikit-learn and scikit-image in
// tests/python/tasks_test.py.
#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"
#include "cohort/eval/task.h"

#include "eval/extreme_rows.h"
#include "eval/percentiles.h"
#include "eval/poisson_bootstrap.h"
#include "eval/ranking.h"
#include "eval/spilled_rankings.h"
#include "support/ranks.h"

namespace cohort::eval {
namespace {

constexpr float kNotKnown = std::numeric_limits<float>::quiet_NaN();

/// Images of a task with one context key of values a, b and c, which nobody has.
struct TaskImages {
  std::string task;
  method::Answers answers;
  at::Tensor target;  // [N, …]
  std::vector<std::int32_t> contexts;
};

TaskInput input_of(const TaskImages& images, data::FieldKind kind) {
  data::Field field{"truth",
                    kind,
                    kind == data::FieldKind::flags ? data::ValueType::u8 : data::ValueType::f32,
                    {images.target.sizes().begin() + 1, images.target.sizes().end()}};
  TaskInput input{field, {"first", "second"}, {}, images.target.size(0), {}};
  if (!images.contexts.empty()) input.contexts = {{{"site", 0, 3}}, {"a", "b", "c"}};
  return input;
}

/// Image after image, each on one rank, the last one first.
Scorecard scored(const TaskImages& images, comm::Communicator& ranks) {
  const TaskEntry& entry = find_task(images.task);
  const std::unique_ptr<Task> task = entry.make(input_of(images, entry.target));
  for (std::int64_t i = images.target.size(0); i-- > 0;) {
    if (i % ranks.size() != ranks.rank()) continue;
    method::Answers answers;
    for (const auto& [name, values] : images.answers) answers[name] = values.narrow(0, i, 1);
    const std::vector<std::int64_t> rows{i};
    const data::Column target{images.target.narrow(0, i, 1), {}};
    const auto contexts = images.contexts.empty()
                              ? std::span<const std::int32_t>()
                              : std::span(images.contexts).subspan(static_cast<std::size_t>(i), 1);
    task->add({rows, contexts, answers, target});
  }
  return task->finish(ranks);
}

double score_of(const std::vector<Score>& scores, const std::string& name) {
  const auto found =
      std::find_if(scores.begin(), scores.end(), [&](const Score& score) { return score.name == name; });
  EXPECT_NE(found, scores.end()) << name;
  return found == scores.end() ? 0.0 : found->value;
}

TaskImages measured() {
  return {"regression",
          {{"values", at::tensor({1.F, 10.F, 2.F, 20.F, 4.F, 30.F, 0.F, 0.F}).reshape({4, 2})}},
          at::tensor({2.F, 10.F, 2.F, kNotKnown, 1.F, 26.F, kNotKnown, kNotKnown}).reshape({4, 2}),
          {0, 0, 1, 1}};
}

TaskImages flagged() {
  return {"multilabel",
          {{"logits", at::tensor({3.F, 1.F, -1.F, 1.F, 2.F, -2.F, -1.F, 0.F}).reshape({4, 2})}},
          at::tensor({1, 0, 0, 1, 0, 1, 1, 255}, at::kByte).reshape({4, 2}),
          {0, 0, 1, 1}};
}

TaskImages restored() {
  const at::Tensor truth = at::linspace(0, 1, 4 * 12 * 12).reshape({4, 1, 12, 12});
  return {"restoration",
          {{"image", truth + at::tensor({0.1F, 0.F, 0.2F, 0.1F}).reshape({4, 1, 1, 1})}},
          truth,
          {0, 0, 1, 1}};
}

TEST(Tasks, GiveTheScoresThatTheyName) {
  comm::Communicator world = test::world();
  for (const TaskImages& images : {measured(), flagged(), restored()}) {
    const Scorecard card = scored(images, world);
    const std::vector<ScoreName> names = find_task(images.task).scores({});
    ASSERT_EQ(card.all.size(), names.size()) << images.task;
    for (std::size_t i = 0; i < names.size(); ++i) {
      EXPECT_EQ(card.all[i].name, names[i].name);
      EXPECT_EQ(card.all[i].higher_is_better, names[i].higher_is_better);
    }
    ASSERT_EQ(card.contexts.size(), 1U);
    EXPECT_EQ(card.contexts[0].key, "site");
    ASSERT_EQ(card.contexts[0].groups.size(), 2U) << "c has no images";
    for (const ScoredGroup& group : card.contexts[0].groups)
      EXPECT_EQ(group.scores.front().name, names.front().name);
  }
}

TEST(Tasks, OfMeasurementsMayBeComputedByHand) {
  comm::Communicator world = test::world();
  const Scorecard card = scored(measured(), world);
  EXPECT_EQ(card.samples, 3);
  ASSERT_EQ(card.classes.size(), 2U);
  const std::vector<Score>&first = card.classes[0].scores, &second = card.classes[1].scores;
  EXPECT_EQ(card.classes[0].samples, 3);
  EXPECT_DOUBLE_EQ(score_of(first, "mae"), 4.0 / 3);
  EXPECT_DOUBLE_EQ(score_of(first, "rmse"), std::sqrt(10.0 / 3));
  EXPECT_DOUBLE_EQ(score_of(first, "r2"), 1 - 10.0 / (2.0 / 3));
  EXPECT_DOUBLE_EQ(score_of(second, "mae"), 2.0);
  EXPECT_DOUBLE_EQ(score_of(second, "r2"), 1 - 16.0 / 128);
  EXPECT_DOUBLE_EQ(score_of(card.all, "mae"), (4.0 / 3 + 2) / 2);
  EXPECT_DOUBLE_EQ(score_of(card.contexts[0].groups[0].scores, "mae"), 0.25);
  EXPECT_EQ(card.worst()->name, "b");
}

TEST(Tasks, OfMeasurementsShowLargestErrorsAndPredictions) {
  comm::Communicator world = test::world();
  const Scorecard card = scored(measured(), world);
  ASSERT_EQ(card.cases.size(), 2U) << "an image without errors is none";
  EXPECT_EQ(card.cases[0].row, 2);
  EXPECT_EQ(card.cases[0].score, 4.0);
  EXPECT_EQ(card.cases[0].what, "second: 26, said to be 30");
  EXPECT_EQ(card.cases[1].what, "first: 2, said to be 1");
  using Points = std::vector<std::array<double, 2>>;
  const std::vector<std::pair<std::string, Points>> expected{{"predicted", {{1, 4}, {2, 1}, {2, 2}}},
                                                             {"residuals", {{1, 1}, {2, 0}, {4, -3}}},
                                                             {"predicted", {{10, 10}, {26, 30}}},
                                                             {"residuals", {{10, 0}, {30, -4}}}};
  ASSERT_EQ(card.curves.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(card.curves[i].kind, expected[i].first);
    EXPECT_EQ(card.curves[i].of, i < 2 ? "first" : "second");
    EXPECT_EQ(card.curves[i].points, expected[i].second);
  }
}

TEST(Tasks, OfManyMeasurementsDrawTheSameImagesOnAnyNumberOfRanks) {
  comm::Communicator world = test::world();
  comm::Communicator alone = world.split(world.rank(), "alone");
  const at::Tensor rows = at::arange(1000, at::kFloat).reshape({1000, 1});
  const TaskImages images{"regression", {{"values", rows + 0.5}}, rows, {}};
  const Scorecard together = scored(images, world), single = scored(images, alone);
  ASSERT_EQ(single.curves.size(), 2U);
  ASSERT_EQ(single.curves[0].points.size(), Curve::kMostPoints);
  double mean = 0;
  for (const auto& [truth, said] : single.curves[0].points) {
    EXPECT_EQ(said, truth + 0.5);
    mean += truth / static_cast<double>(Curve::kMostPoints);
  }
  EXPECT_NEAR(mean, 499.5, 80) << "four standard errors of a sample of all images";
  EXPECT_EQ(together.curves[0].points, single.curves[0].points);
  ASSERT_EQ(together.cases.size(), single.cases.size());
  for (std::size_t i = 0; i < single.cases.size(); ++i) EXPECT_EQ(together.cases[i].row, single.cases[i].row);
}

TEST(Tasks, OfFlagsMayBeComputedByHand) {
  comm::Communicator world = test::world();
  const Scorecard card = scored(flagged(), world);
  EXPECT_EQ(card.samples, 4);
  const std::vector<Score>&first = card.classes[0].scores, &second = card.classes[1].scores;
  EXPECT_EQ(card.classes[1].samples, 2);
  EXPECT_DOUBLE_EQ(score_of(first, "sensitivity"), 0.5);
  EXPECT_DOUBLE_EQ(score_of(first, "specificity"), 0.5);
  EXPECT_DOUBLE_EQ(score_of(first, "auroc"), 2.5 / 4) << "a tie counts one half";
  EXPECT_DOUBLE_EQ(score_of(second, "auroc"), 0.25);
  EXPECT_DOUBLE_EQ(score_of(second, "f1"), 0.5);
  EXPECT_DOUBLE_EQ(score_of(card.all, "auroc"), (2.5 / 4 + 0.25) / 2);
  EXPECT_DOUBLE_EQ(score_of(card.all, "accuracy"), (0.5 + 1.0 / 3) / 2);
  ASSERT_EQ(card.cases.size(), 3U);
  EXPECT_EQ(card.cases[0].row, 2) << "of equal confidence the first flag of an image";
  EXPECT_EQ(card.cases[0].what, "first: no, said to be yes (0.881)");
}

TEST(Tasks, OfRestorationHaveTheRatioOfEveryImage) {
  comm::Communicator world = test::world();
  const Scorecard card = scored(restored(), world);
  const double third = -20 * std::log10(0.2);
  EXPECT_NEAR(score_of(card.all, "psnr"), (20 + 100 + third + 20) / 4, 1e-5);
  EXPECT_NEAR(score_of(card.all, "mae"), 0.1, 1e-7);
  EXPECT_EQ(card.cases[0].row, 2);
  TaskImages same = restored();
  same.answers["image"] = same.target;
  EXPECT_DOUBLE_EQ(score_of(scored(same, world).all, "ssim"), 1.0);
}

TEST(Tasks, RefuseWhatCannotBeScored) {
  comm::Communicator world = test::world();
  for (TaskImages images : {measured(), flagged()}) {
    TaskImages unknown = images;
    unknown.target = images.task == "regression" ? at::full_like(images.target, kNotKnown)
                                                 : at::full_like(images.target, 255);
    EXPECT_THROW((void)scored(unknown, world), DataError);
    for (auto& [name, values] : images.answers) {
      values = values.clone();
      values[3][1] = INFINITY;  // on one rank alone
    }
    EXPECT_THROW((void)scored(images, world), NumericalError);
  }
}

void expect_same_scores(const std::vector<Score>& some, const std::vector<Score>& others) {
  ASSERT_EQ(some.size(), others.size());
  for (std::size_t i = 0; i < some.size(); ++i) {
    EXPECT_TRUE(some[i].value == others[i].value || std::isnan(some[i].value)) << some[i].name;
    ASSERT_EQ(some[i].interval.has_value(), others[i].interval.has_value());
    if (!some[i].interval) continue;
    EXPECT_EQ(some[i].interval->low, others[i].interval->low) << some[i].name;
    EXPECT_EQ(some[i].interval->high, others[i].interval->high) << some[i].name;
  }
}

TEST(Tasks, HaveTheSameBitsOnAnyNumberOfRanks) {
  comm::Communicator world = test::world();
  comm::Communicator alone = world.split(world.rank(), "alone");
  RandomStream random({.seed = 8, .purpose = Purpose::synthetic});
  at::Tensor answers = at::empty({60, 2}), target = at::empty({60, 2});
  for (at::Tensor* values : {&answers, &target})
    for (std::int64_t i = 0; i < 120; ++i)
      values->mutable_data_ptr<float>()[i] = static_cast<float>(random.normal() * 1e-6 + 3);
  TaskImages regression{"regression", {{"values", answers}}, target, std::vector<std::int32_t>(60, 1)};
  TaskImages multilabel{"multilabel", {{"logits", answers - 3}}, (target > 3).to(at::kByte), {}};
  for (const TaskImages& images : {regression, multilabel, restored()}) {
    const Scorecard together = scored(images, world), single = scored(images, alone);
    expect_same_scores(together.all, single.all);
    for (std::size_t i = 0; i < single.classes.size(); ++i)
      expect_same_scores(together.classes[i].scores, single.classes[i].scores);
    for (std::size_t i = 0; i < single.curves.size(); ++i)
      EXPECT_EQ(together.curves[i].points, single.curves[i].points);
  }
}

TEST(PoissonBootstrap, IsAsWideAsAnOrdinaryOne) {
  comm::Communicator world = test::world();
  constexpr std::int64_t kImages = 1500;
  RandomStream random({.seed = 4, .purpose = Purpose::synthetic});
  std::vector<double> values, means;
  for (std::int64_t i = 0; i < kImages; ++i) values.push_back(std::exp(random.normal()));
  PoissonBootstrap bootstrap(2);
  for (std::int64_t i = world.rank(); i < kImages; i += world.size())
    bootstrap.add(i, std::array{1.0, values[static_cast<std::size_t>(i)]});
  bootstrap.add_up(world);
  for (int sample = 0; sample < 1000; ++sample) {
    double sum = 0;
    for (std::int64_t i = 0; i < kImages; ++i) sum += values[random.below(kImages)];
    means.push_back(sum / kImages);
  }

  const Interval found = bootstrap.interval([](std::span<const double> sums) { return sums[1] / sums[0]; }),
                 ordinary = middle_95(means);

  const double width = ordinary.high - ordinary.low;
  EXPECT_NEAR(found.low, ordinary.low, 0.1 * width);
  EXPECT_NEAR(found.high, ordinary.high, 0.1 * width);
}

TEST(ExtremeRows, AreTheLargestOfAllRanksTiesByRow) {
  comm::Communicator world = test::world();
  ExtremeRows rows;
  for (std::int64_t row = 999 - world.rank(); row >= 0; row -= world.size())
    rows.add({static_cast<double>(row % 10), row, row + 1, 0, 0.5 * static_cast<double>(row), -1.5});
  const std::vector<ExtremeRows::Entry> found = rows.finish(world);
  ASSERT_EQ(found.size(), ExtremeRows::kMost);
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].score, 9.0);
    EXPECT_EQ(found[i].row, static_cast<std::int64_t>(9 + 10 * i));
    EXPECT_EQ(found[i].label, found[i].row + 1);
    EXPECT_EQ(found[i].truth, 0.5 * static_cast<double>(found[i].row));
    EXPECT_EQ(found[i].said, -1.5);
  }
}

/// Σ over positive images of the precision from their number on.
double average_precision_of_pairs(const std::vector<double>& values,
                                  const std::vector<std::int32_t>& labels) {
  double sum = 0, positives = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (labels[i] != 1) continue;
    double right = 0, all = 0;
    for (std::size_t j = 0; j < values.size(); ++j) {
      if (labels[j] < 0 || values[j] < values[i]) continue;
      ++all;
      right += labels[j];
    }
    sum += right / all;
    ++positives;
  }
  return sum / positives;
}

// A label for each number, of which some are not known.
TEST(SpilledRankings, HaveTheAveragePrecisionOfAllPairs) {
  comm::Communicator world = test::world();
  constexpr std::int64_t kImages = 200;
  RandomStream random({.seed = 6, .purpose = Purpose::synthetic});
  std::vector<double> values[2];
  std::vector<std::int32_t> labels[2];
  SpilledRankings rankings(2, SpilledRankings::LabelsOf::column);
  for (std::int64_t i = 0; i < kImages; ++i) {
    for (int c = 0; c < 2; ++c) {
      values[c].push_back(std::round(3 * random.normal()));
      labels[c].push_back(static_cast<std::int32_t>(random.below(3)) - (c == 0 ? 1 : 0));
      if (labels[c].back() > 1) labels[c].back() = 1;
    }
    if (i % world.size() != world.rank()) continue;
    const std::vector<std::int32_t> of_image{labels[0].back(), labels[1].back()};
    rankings.add(at::tensor({values[0].back(), values[1].back()}, at::kDouble).unsqueeze(0), of_image);
  }
  for (int c = 0; c < 2; ++c) {
    const auto positives = std::count(labels[c].begin(), labels[c].end(), 1),
               negatives = std::count(labels[c].begin(), labels[c].end(), 0);
    const auto area = rankings.area(c, 1, positives, negatives, world);
    EXPECT_NEAR(area->average_precision, average_precision_of_pairs(values[c], labels[c]), 1e-14);
    std::vector<double> negated;
    std::vector<std::int32_t> others;
    for (const double value : values[c]) negated.push_back(-value);
    for (const std::int32_t label : labels[c]) others.push_back(label < 0 ? -1 : 1 - label);
    EXPECT_NEAR(area->average_precision_of_others, average_precision_of_pairs(negated, others), 1e-14);
  }
}

TEST(Ranking, HasTheAveragePrecisionOfImagesThatCountSeveralTimes) {
  const std::vector<double> values{3, 1, 1, 2}, repeated{3, 1, 1, 1, 2, 2};
  const bool positive[]{true, true, false, false}, of_repeated[]{true, true, true, false, false, false};
  const std::vector<std::int32_t> weights{1, 2, 1, 2};
  EXPECT_DOUBLE_EQ(*Ranking(values, positive).average_precision(weights),
                   *Ranking(repeated, of_repeated).average_precision());
  EXPECT_DOUBLE_EQ(*Ranking(values, positive).average_precision(), (1.0 + 0.5) / 2);
  EXPECT_DOUBLE_EQ(*Ranking(values, positive).average_precision(weights), (1.0 + 2 * 0.5) / 3);
}

}  // namespace
}  // namespace cohort::eval
