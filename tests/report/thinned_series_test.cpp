#include "report/thinned_series.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

namespace cohort::report {
namespace {

constexpr std::int64_t kStretches = ThinnedSeries::kStretches;

double value_at(std::int64_t step) {
  return std::sin(static_cast<double>(step) * 0.7) + static_cast<double>(step % 13);
}

TEST(ThinnedSeries, KeepsAllOfAShortRun) {
  ThinnedSeries series;
  Series all;
  for (std::int64_t step = 0; step < kStretches; ++step) {
    all.emplace_back(static_cast<double>(step), value_at(step));
    series.add(all.back().first, all.back().second);
  }

  EXPECT_EQ(series.points(), all);
  EXPECT_EQ(series.means(), all);
  EXPECT_FALSE(series.is_thinned());
  EXPECT_EQ(series.count(), kStretches);
}

// Stretches of 16 steps: 8 would be too few for 100,000.
TEST(ThinnedSeries, KeepsTheExtremesOfEveryStretchOfALongOne) {
  constexpr std::int64_t kSteps = 100'003, kWidth = 16;
  ThinnedSeries series;
  for (std::int64_t step = 0; step < kSteps; ++step)
    series.add(static_cast<double>(step), step == 54'321 ? 1e6 : value_at(step));

  const Series points = series.points(), means = series.means();

  EXPECT_EQ(series.count(), kSteps);
  ASSERT_EQ(std::ssize(means), (kSteps + kWidth - 1) / kWidth);
  EXPECT_LE(std::ssize(points), 2 * std::ssize(means) + 1);
  EXPECT_TRUE(std::is_sorted(points.begin(), points.end()));
  EXPECT_TRUE(std::any_of(points.begin(), points.end(), [](const auto& p) { return p.second == 1e6; }));
  EXPECT_EQ(points.back(), (std::pair{static_cast<double>(kSteps - 1), value_at(kSteps - 1)}));
  auto next = points.begin();
  for (std::int64_t first = 0; first < kSteps; first += kWidth) {
    const std::int64_t last = std::min(kSteps, first + kWidth);
    double low = INFINITY, high = -INFINITY, sum = 0;
    for (std::int64_t step = first; step < last; ++step) {
      const double value = step == 54'321 ? 1e6 : value_at(step);
      low = std::min(low, value);
      high = std::max(high, value);
      sum += value;
    }
    double kept_low = INFINITY, kept_high = -INFINITY;
    for (; next != points.end() && next->first < static_cast<double>(last); ++next) {
      kept_low = std::min(kept_low, next->second);
      kept_high = std::max(kept_high, next->second);
    }
    EXPECT_EQ(kept_low, low) << first;
    EXPECT_EQ(kept_high, high) << first;
    const auto& mean = means[static_cast<std::size_t>(first / kWidth)];
    EXPECT_EQ(mean.first, static_cast<double>(first));
    EXPECT_NEAR(mean.second, sum / static_cast<double>(last - first), 1e-9 * std::abs(sum));
  }
}

TEST(ThinnedSeries, StepsThatARunWentBackBehindAreReplaced) {
  ThinnedSeries series;
  for (int step = 0; step < 100; step += 10) series.add(step, 1);
  series.add(35, 2);

  EXPECT_EQ(series.points(), (Series{{0, 1}, {10, 1}, {20, 1}, {30, 1}, {35, 2}}));
  series.add(0, 3);
  EXPECT_EQ(series.points(), (Series{{0, 3}}));
}

/// As many values, `first` before all others, as make stretches of `width`.
ThinnedSeries thinned_behind(const Series& first, std::int64_t width) {
  ThinnedSeries series;
  for (const auto& [step, value] : first) series.add(step, value);
  for (std::int64_t i = series.count(); i <= kStretches * width / 2; ++i)
    series.add(static_cast<double>(100 + i), 0);
  return series;
}

// 17 / (17 / 7) is more than 7 in fp64.
TEST(ThinnedSeries, TheValueOfAStepThatComesAgainIsNotCountedTwice) {
  ThinnedSeries series =
      thinned_behind({{0, 1}, {2, 1}, {4, 1}, {6, 1}, {8, 1}, {10, 1}, {12, 1}, {17, 1}}, 8);
  series.add(17, 1);

  EXPECT_EQ(series.count(), 8);
}

TEST(ThinnedSeries, ExtremesOfStepsThatWereReplacedStay) {
  ThinnedSeries series = thinned_behind({{0, 1}, {1, 1}, {2, -100}, {3, 100}}, 4);
  series.add(1, 2);

  EXPECT_EQ(series.points(), (Series{{0, -100}, {0, 100}, {1, 2}}));
}

TEST(ThinnedSeries, OfALongRunAreCountedExactly) {
  ThinnedSeries series;
  const auto add = [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) series.add(static_cast<double>(5 * i), 0.5);
  };
  add(0, 50'000);
  for (const std::int64_t back : {49'999, 48'001, 48'000, 40'003, 7}) {
    add(back, back + 1);
    EXPECT_EQ(series.count(), back + 1);
    EXPECT_EQ(series.points().back(), (std::pair{static_cast<double>(5 * back), 0.5}));
    add(back + 1, 50'000);
    EXPECT_EQ(series.count(), 50'000);
  }
  for (const auto& [step, mean] : series.means()) EXPECT_NEAR(mean, 0.5, 1e-12);
}

}  // namespace
}  // namespace cohort::report
