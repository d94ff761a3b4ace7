// Which evaluation is the best, and when there have been too many that were not.
#include "train/best_score.h"

#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

namespace cohort::train {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

RunConfig by(const std::string& score, std::int64_t patience = 0, double min_delta = 0.0) {
  RunConfig config;
  config.checkpoint.best_by = score;
  config.train.early_stopping = {.patience = patience, .min_delta = min_delta};
  return config;
}

std::vector<std::string> names() {
  const std::vector<std::string> splits{"test", "far/away"};
  const std::vector<std::int64_t> neighbours{20};
  return score_names(splits, {}, splits, neighbours);
}

/// "b..b": b for each evaluation that is the best so far; "|" where the run ends.
std::string course(BestScore& score, const std::vector<double>& values) {
  std::string text;
  std::int64_t step = 0;
  for (const double value : values) {
    const bool is_last = score.is_last(value);
    text += score.is_best(value) ? 'b' : '.';
    score.note(value, ++step);
    if (is_last) return text + "|";
  }
  return text;
}

std::string course(const RunConfig& config, const std::vector<double>& values) {
  BestScore score(config, names(), {});
  return course(score, values);
}

TEST(BestScore, IsBetterThanAllBefore) {
  EXPECT_EQ(course(by("test/auc"), {0.5, 0.4, 0.6, 0.6, 0.7}), "b.b.b");
  EXPECT_EQ(course(by("test/loss"), {0.5, 0.4, 0.6, 0.4, 0.3}), "bb..b");
  EXPECT_EQ(course(by("test/calibration_error"), {0.5, 0.6}), "b.");
  EXPECT_EQ(course(by("far/away/knn_20/loss"), {0.5, 0.4}), "bb");
  EXPECT_EQ(course(by(""), {0.5, 0.6}), "..");
}

TEST(BestScore, WhatIsNoNumberIsNeverBetter) {
  EXPECT_EQ(course(by("test/auc"), {kNone, -1.0, kNone, -1.0, 0.0}), ".b..b");
  EXPECT_EQ(course(by("test/loss", 2), {1.0, kNone, kNone, 0.5}), "b..|");
}

TEST(BestScore, PatienceCountsEvaluationsInARow) {
  EXPECT_EQ(course(by("test/auc", 2), {0.5, 0.4, 0.6, 0.6, 0.5, 0.9}), "b.b..|");
  EXPECT_EQ(course(by("test/auc", 1), {0.5, 0.6, 0.6}), "bb.|");
  EXPECT_EQ(course(by("test/auc", 0), {0.5, 0.4, 0.4, 0.4}), "b...");
}

// The best by a little is kept, but does not save a run from its end; small steps add up.
TEST(BestScore, PatienceEndsUnlessAScoreIsBetterByMinDelta) {
  EXPECT_EQ(course(by("test/auc", 2, 0.125), {0.5, 0.5625, 0.625, 0.75}), "bbb|");
  EXPECT_EQ(course(by("test/auc", 3, 0.125), {0.5, 0.5625, 0.625, 0.75, 0.75}), "bbbb.");
  EXPECT_EQ(course(by("test/loss", 2, 0.125), {0.5, 0.4375, 0.25, 0.25, 0.25}), "bbb..|");
}

// Its buffer is all that it knows: one that is given its values goes on in the same way, whenever that is.
TEST(BestScore, GoesOnFromItsBuffer) {
  const std::vector<double> values{0.1, 0.3, 0.1 + 0.2, 0.25, kNone, 0.31, 0.2, 0.2, 0.2, 0.2};
  const RunConfig config = by("test/auc", 4);
  const std::string whole = course(config, values);
  ASSERT_EQ(whole, "bb...b....|");
  for (std::size_t cut = 0; cut <= values.size(); ++cut) {
    BestScore first(config, names(), {}), second(config, names(), {});
    const auto at = values.begin() + static_cast<std::ptrdiff_t>(cut);
    const std::string before = course(first, {values.begin(), at});
    second.buffer().values.copy_(first.buffer().values);
    EXPECT_EQ(before + (before.ends_with('|') ? "" : course(second, {at, values.end()})), whole) << cut;
    EXPECT_EQ(second.best_step().has_value(), cut > 0 || whole.front() == 'b');
  }
}

// As when a run goes on with another checkpoint.best_by or eval.neighbours_of.
TEST(BestScore, ForgetsAnotherScore) {
  RunConfig config = by("test/knn_20/auc", 2);
  BestScore before(config, names(), {});
  before.note(0.9, 7);
  const auto best_step_as = [&](const RunConfig& other) {
    BestScore now(other, names(), {});
    now.buffer().values.copy_(before.buffer().values);
    now.restored();
    EXPECT_NE(now.is_best(0.5), now.best_step().has_value());
    return now.best_step();
  };
  EXPECT_EQ(best_step_as(config), 7);
  EXPECT_EQ(best_step_as(by("test/knn_20/loss", 2)), std::nullopt);
  config.eval.neighbours_of = "site";
  EXPECT_EQ(best_step_as(config), std::nullopt);
}

TEST(BestScore, KnowsStepsThatFloatsCannotCount) {
  BestScore score(by("test/auc"), names(), {});
  EXPECT_FALSE(score.best_step().has_value());
  const std::int64_t step = (std::int64_t{1} << 33) + 1;
  score.note(0.5, step);
  EXPECT_EQ(score.best_step(), step);
}

std::string refusal(const RunConfig& config, const std::vector<std::string>& known) {
  try {
    const BestScore score(config, known, {});
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(BestScore, RefusesNamesThatNoEvaluationHas) {
  EXPECT_NE(refusal(by("test/balanced_acuracy"), names()).find("did you mean 'test/balanced_accuracy'?"),
            std::string::npos);
  EXPECT_NE(refusal(by("test/auc"), {}).find("there is none"), std::string::npos);
  EXPECT_NE(refusal(by("", 3), names()).find("set checkpoint.best_by=test/accuracy"), std::string::npos);
}

TEST(BestScore, FindsScoresByName) {
  Judgement judgement;
  judgement.features = eval::FeatureStatistics{};
  judgement.features->effective_rank = 7.0;
  eval::Evaluation head, knn;
  head.split = knn.split = "test";
  head.scores.accuracy = 0.75;
  head.scores.contexts = {{"a", 4, 0.5}, {"b", 4, 0.25}};
  knn.classifier = "knn k=20";
  knn.scores.accuracy = 0.5;
  knn.scores.auc = 0.625;
  judgement.evaluations = {head, knn};
  EXPECT_EQ(score_named("test/accuracy", judgement), 0.75);
  EXPECT_EQ(score_named("test/worst_context", judgement), 0.25);
  EXPECT_EQ(score_named("test/knn_20/accuracy", judgement), 0.5);
  EXPECT_EQ(score_named("test/knn_20/auc", judgement), 0.625);
  EXPECT_EQ(score_named("features/effective_rank", judgement), 7.0);
  EXPECT_FALSE(score_named("test/auc", judgement));
  EXPECT_FALSE(score_named("test/knn_20/worst_context", judgement));
  EXPECT_FALSE(score_named("elsewhere/accuracy", judgement));
}

TEST(BestScore, FindsScoresOfTasks) {
  const TaskScores by_task{{"test"}, {{"dice", true}, {"distance", false}}};
  EXPECT_EQ(score_names({}, by_task, {}, {}),
            (std::vector<std::string>{"test/dice", "test/distance", "test/worst_context"}));
  eval::Evaluation evaluation;
  evaluation.split = "test";
  evaluation.task = "segmentation";
  evaluation.card.all = {{.name = "dice", .value = 0.5}, {.name = "distance", .value = 3}};
  evaluation.card.contexts = {
      {"site", {{"a", 4, {{.name = "dice", .value = 0.75}}}, {"b", 4, {{.name = "dice", .value = 0.25}}}}}};
  Judgement judgement;
  judgement.evaluations = {evaluation};
  EXPECT_EQ(score_named("test/dice", judgement), 0.5);
  EXPECT_EQ(score_named("test/worst_context", judgement), 0.25);
  EXPECT_FALSE(score_named("test/accuracy", judgement));
  EXPECT_FALSE(score_named("val/dice", judgement));
  BestScore lower(by("test/distance"), score_names({}, by_task, {}, {}), by_task);
  lower.note(3.0, 1);
  EXPECT_TRUE(lower.is_best(2.0));
  EXPECT_FALSE(lower.is_best(4.0));
}

}  // namespace
}  // namespace cohort::train
