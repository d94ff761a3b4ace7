#include "train/progress.h"

#include <gtest/gtest.h>

namespace cohort::train {
namespace {

StepRecord record(std::int64_t step, double loss, double seconds) {
  return {step, 0, loss, 5e-4, 1.25, seconds, 0, 0.25, 0.5, 0.0, 0.0, std::int64_t{3} << 30, 0, {}};
}

TEST(Progress, RatesLeaveTheFirstStepOut) {
  Progress progress({.total_steps = 100, .global_images = 64, .every_steps = 1000});

  progress.step(record(1, 0.7, 50.0));
  progress.step(record(2, 0.6, 0.1));
  progress.step(record(3, 0.5, 0.3));

  EXPECT_EQ(progress.line(),
            "step     3/100  loss 0.5000  grad 1.250  lr 5.00e-04  200 ms (data 25% comm 50%)  320 img/s all "
            "ranks  mem 3.0 GiB  19.4 s left");
}

TEST(RecentValues, TellsHowFarAValueIsFromThoseBefore) {
  RecentValues values;
  for (int i = 0; i < 8; ++i) EXPECT_FALSE(values.add(i % 2).has_value());

  EXPECT_DOUBLE_EQ(values.add(2.0).value(), 3.0);  // mean 1/2, deviation 1/2
}

}  // namespace
}  // namespace cohort::train
