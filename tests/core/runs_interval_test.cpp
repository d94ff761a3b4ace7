#include "cohort/core/runs_interval.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace cohort {
namespace {

// The 97.5th percentile of Student's t with two degrees of freedom is 4.302653: 45.07553 ± 5.410499.
TEST(RunsInterval, IsThatOfTheDefinition) {
  const std::vector<double> scores{45.7464, 42.641, 46.8392};

  const RunsInterval interval = runs_interval(scores);

  EXPECT_NEAR(interval.mean, 45.07553333333333, 1e-9);
  EXPECT_NEAR(interval.deviation, 2.1780191397995874, 1e-9);
  EXPECT_NEAR(interval.half_width, 2.4646606758603604, 1e-9);
  EXPECT_NEAR(interval.student_half_width, 5.410499, 1e-6);
}

TEST(RunsInterval, EqualScoresHaveNoWidthAndOneRunHasNone) {
  const std::vector<double> equal(5, 1.0), one{0.25};

  EXPECT_EQ(runs_interval(equal).half_width, 0.0);
  EXPECT_EQ(runs_interval(equal).student_half_width, 0.0);
  EXPECT_EQ(runs_interval(one).mean, 0.25);
  EXPECT_TRUE(std::isnan(runs_interval(one).half_width));
  EXPECT_TRUE(std::isnan(runs_interval(one).deviation));
}

}  // namespace
}  // namespace cohort
