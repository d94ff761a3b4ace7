#include "train/progress.h"

#include <algorithm>

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

  EXPECT_EQ(progress.line().text(),
            "step     3/100  loss 0.5000  grad 1.250  lr 5.00e-04  200 ms (data 25% comm 50%)  320 img/s all "
            "ranks  mem 3.0 GiB  19.4 s left");
}

TEST(Progress, OfANarrowTerminalKeepsWhatMattersMost) {
  Progress progress({.total_steps = 100, .global_images = 64, .every_steps = 1000});
  progress.step(record(1, 0.7, 50.0));
  progress.step(record(2, 0.6, 0.1));

  EXPECT_EQ(progress.line().text(80),
            "step     2/100  loss 0.6000  grad 1.250  640 img/s all ranks  9.8 s left");
  EXPECT_EQ(progress.line().text(50), "step     2/100  loss 0.6000  9.8 s left");
}

TEST(Progress, SaysInWordsWhatIsUnusual) {
  Progress progress({.total_steps = 100, .global_images = 64, .every_steps = 1000});
  for (int step = 1; step <= 9; ++step) progress.step(record(step, 0.7 + 0.01 * (step % 2), 0.1));
  EXPECT_EQ(progress.line().text().find("unusual"), std::string::npos);
  progress.step(record(10, 2.5, 0.1));
  EXPECT_NE(progress.line().text().find("loss 2.5000 (unusually high)  grad 1.250  "), std::string::npos);
  progress.step(record(11, -9.0, 0.1));
  EXPECT_NE(progress.line().text().find("loss -9.0000 (unusually low)"), std::string::npos);
}

TEST(Progress, SaysTheFirstStepAtOnce) {
  Progress progress({.total_steps = 100, .global_images = 64, .every_steps = 10});
  ::testing::internal::CaptureStderr();
  for (int step = 1; step <= 3; ++step) progress.step(record(step, 0.7, 0.1));
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("step     1/100"), std::string::npos);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

TEST(RecentValues, TellsHowFarAValueIsFromThoseBefore) {
  RecentValues values;
  for (int i = 0; i < 8; ++i) EXPECT_FALSE(values.add(i % 2).has_value());

  EXPECT_DOUBLE_EQ(values.add(2.0).value(), 3.0);  // mean 1/2, deviation 1/2
}

}  // namespace
}  // namespace cohort::train
