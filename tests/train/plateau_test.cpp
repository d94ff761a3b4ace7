// When the learning rate falls because a score no longer gets better.
#include "train/plateau.h"

#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "train/learning_rate.h"

namespace cohort::train {
namespace {

constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();

/// "..r": r for each evaluation behind which the rate falls.
std::string course_of(Plateau& plateau, const std::vector<double>& values) {
  std::string text;
  for (const double value : values) text += plateau.note(value) ? 'r' : '.';
  return text;
}

std::string course_of(const PlateauConfig& config, bool lower_is_better, const std::vector<double>& values) {
  Plateau plateau(config, 1, lower_is_better);
  return course_of(plateau, values);
}

TEST(Plateau, FallsBehindMoreThanPatienceEvaluationsThatWereNotBetter) {
  EXPECT_EQ(course_of({.patience = 1}, false, {0.5, 0.4, 0.5, 0.5, 0.5, 0.6, 0.6}), "..r.r..");
  EXPECT_EQ(course_of({.patience = 1}, true, {0.5, 0.6, 0.5, 0.4, 0.4}), "..r..");
  EXPECT_EQ(course_of({.patience = 2}, true, {0.5, 0.6, 0.6, 0.4, 0.4, 0.4, 0.4}), "......r");
}

TEST(Plateau, ALittleBetterIsNotBetter) {
  EXPECT_EQ(course_of({.patience = 1, .threshold = 0.25}, false, {0.5, 0.5625, 0.625, 0.75}), "..r.");
  EXPECT_EQ(course_of({.patience = 1, .threshold = 0.25}, true, {1.0, 0.875, 0.75, 0.5}), "..r.");
}

TEST(Plateau, WhatIsNoNumberIsNotBetter) {
  EXPECT_EQ(course_of({.patience = 1}, false, {kNoNumber, kNoNumber, 0.1, kNoNumber, kNoNumber}), ".r..r");
}

// Its buffer is all that it knows: one that is given its values goes on in the same way, whenever that is.
TEST(Plateau, GoesOnFromItsBuffer) {
  const std::vector<double> values{0.1, 0.3, 0.3, 0.1 + 0.2, kNoNumber, 0.31, 0.2, 0.2, 0.2, 0.2};
  Plateau whole({.patience = 1}, 1, false);
  const std::string expected = course_of(whole, values);
  ASSERT_EQ(expected, "...r...r.r");
  for (std::size_t cut = 0; cut <= values.size(); ++cut) {
    Plateau first({.patience = 1}, 1, false), second({.patience = 1}, 1, false);
    const auto at = values.begin() + static_cast<std::ptrdiff_t>(cut);
    const std::string before = course_of(first, {values.begin(), at});
    second.buffer().values.copy_(first.buffer().values);
    second.restored();
    EXPECT_EQ(before + course_of(second, {at, values.end()}), expected) << cut;
    EXPECT_EQ(second.reductions(), 3);
  }
}

// As when a run goes on with another checkpoint.best_by: the rate stays low, and the waiting begins anew.
TEST(Plateau, ForgetsAnotherScoreButNotItsReductions) {
  Plateau before({.patience = 1}, 1, false), now({.patience = 1}, std::uint64_t{2} << 40U, true);
  course_of(before, {0.5, 0.5, 0.5, 0.5});
  now.buffer().values.copy_(before.buffer().values);
  now.restored();
  EXPECT_EQ(now.reductions(), 1);
  EXPECT_EQ(course_of(now, {0.9, 0.9, 0.9}), "..r");
}

TEST(Plateau, TheRateFallsFromThePeakToItsLeast) {
  RunConfig config;
  config.optimizer.lr = 1e-3;
  config.schedule.warmup_steps = 2;
  config.schedule.plateau = {.patience = 3, .factor = 0.5, .min_lr = 2e-4};
  EXPECT_EQ(learning_rate(config, 0, 100, 10, 0), 0.0);
  EXPECT_EQ(learning_rate(config, 1, 100, 10, 0), 1e-3);
  EXPECT_EQ(learning_rate(config, 99, 100, 10, 0), 1e-3);
  EXPECT_EQ(learning_rate(config, 50, 100, 10, 2), 2.5e-4);
  EXPECT_EQ(learning_rate(config, 50, 100, 10, 3), 2e-4);
  config.schedule.plateau.min_lr = 1.0;  // above the peak
  EXPECT_EQ(learning_rate(config, 50, 100, 10, 3), 1e-3);
}

}  // namespace
}  // namespace cohort::train
