// Noise, intervals and fits of cohort-perf against tables and by simulation.
#include "statistics.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "cohort/core/random.h"

#include "scaling_fit.h"

namespace cohort::perf {
namespace {

TEST(Statistics, QuantilesLieBetweenNeighbours) {
  EXPECT_DOUBLE_EQ(median({3, 1, 2}), 2);
  EXPECT_DOUBLE_EQ(median({4, 1, 2, 3}), 2.5);
  EXPECT_DOUBLE_EQ(quantile({1, 2, 3, 4, 5}, 0.25), 2);
  EXPECT_DOUBLE_EQ(quantile({1, 2}, 0.99), 1.99);
  EXPECT_DOUBLE_EQ(spread({1, 2, 3, 4, 5}), 2.0 / 3);
  EXPECT_EQ(spread({7}), 0);
  EXPECT_EQ(spread({0, 0, 0}), 0);
}

TEST(Statistics, BlocksKeepTheOrderOfTime) {
  EXPECT_EQ(block_medians(std::vector<double>{1, 9, 2, 5, 6, 7}, 2), (std::vector<double>{2, 6}));
  EXPECT_EQ(block_medians(std::vector<double>{1, 2}, 20), (std::vector<double>{1, 2}));
}

TEST(Statistics, OneValueTellsNothingOfItsNoise) {
  const std::vector<double> one{2}, more{2, 4};
  EXPECT_EQ(mean_interval(one, 0.05).low, 0);
  EXPECT_TRUE(std::isinf(mean_interval(one, 0.05).high));
  const Interval ratio = ratio_interval(one, more, 0.05);
  EXPECT_EQ(ratio.low, 0);
  EXPECT_TRUE(std::isinf(ratio.high));
  EXPECT_NEAR(ratio.value, std::sqrt(2.0), 1e-12);
}

// Samples of the same distribution differ "really" as often as the error allows, of one that is 20 % slower
// nearly always.
TEST(Statistics, RatiosKeepTheirErrorRate) {
  RandomStream random({.seed = 1, .purpose = Purpose::synthetic});
  const auto draw = [&](double scale) {
    std::vector<double> values;
    for (int i = 0; i < 6; ++i) values.push_back(scale * std::exp(0.05 * random.normal()));
    return values;
  };
  int false_alarms = 0, found = 0;
  constexpr int kTrials = 2000;
  for (int i = 0; i < kTrials; ++i) {
    const Interval same = ratio_interval(draw(1), draw(1), 0.05),
                   slower = ratio_interval(draw(1), draw(1.2), 0.05);
    false_alarms += same.low > 1 || same.high < 1 ? 1 : 0;
    found += slower.low > 1 ? 1 : 0;
  }
  EXPECT_NEAR(false_alarms, 0.05 * kTrials, 0.02 * kTrials);
  EXPECT_GT(found, 0.98 * kTrials);
}

TEST(ScalingFit, FindsTheTermsThatMadeTheTimes) {
  const ScalingFit truth{2, 40, 3, 0.5};
  std::vector<ScalingPoint> points;
  for (const double n : {1.0, 2.0, 4.0, 8.0})
    points.push_back({n, truth.time(n), truth.time(n) - truth.serial - truth.parallel / n});

  const ScalingFit fit = fit_scaling(points, false);

  EXPECT_NEAR(fit.serial, 2, 1e-9);
  EXPECT_NEAR(fit.parallel, 40, 1e-9);
  EXPECT_NEAR(fit.bandwidth, 3, 1e-9);
  EXPECT_NEAR(fit.latency, 0.5, 1e-9);
  EXPECT_NEAR(fit.serial_fraction(), 2.0 / 42, 1e-9);
}

TEST(ScalingFit, NoTermIsNegative) {
  // Faster than twice as fast on two ranks: all is parallel.
  const ScalingFit fit = fit_scaling({{1, 10, 0}, {2, 4, 0}}, false);
  EXPECT_EQ(fit.serial, 0);
  EXPECT_NEAR(fit.parallel, 9.6, 1e-9);
  EXPECT_EQ(fit.bandwidth + fit.latency, 0);

  const ScalingFit weak = fit_scaling({{1, 10, 0}, {2, 13, 3}}, true);
  EXPECT_NEAR(weak.serial, 10, 1e-9);
  EXPECT_EQ(weak.parallel, 0);
  EXPECT_NEAR(weak.time(2), 13, 1e-9);
}

}  // namespace
}  // namespace cohort::perf
