#include "cohort/core/schedule.h"

#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/golden.h"

namespace cohort {
namespace {

// Each array is the reference's cosine_scheduler(base, final, epochs, steps per epoch, warm-up epochs,
// start), in float64.
TEST(Schedule, EqualsTheReference) {
  const testing::Golden golden("schedules");
  for (const std::string name : {"lr", "lr_nowarm", "lr_onebatch", "lr_start", "momentum", "wd"}) {
    const auto arguments = golden.description().at("args").at(name).get<std::vector<double>>();
    const auto per_epoch = static_cast<std::int64_t>(arguments[3]);
    const std::int64_t total = static_cast<std::int64_t>(arguments[2]) * per_epoch;
    const std::int64_t warmup = static_cast<std::int64_t>(arguments[4]) * per_epoch;
    const at::Tensor expected = golden[name].to(at::kDouble);
    ASSERT_EQ(expected.numel(), total) << name;
    for (std::int64_t step = 0; step < total; ++step) {
      EXPECT_NEAR(warmup_cosine(arguments[0], arguments[1], step, total, warmup, arguments[5]),
                  expected[step].item<double>(), 1e-12)
          << name << " at step " << step;
    }
  }
}

TEST(Schedule, WarmUpMayOutlastTheRun) {
  EXPECT_DOUBLE_EQ(warmup_cosine(1.0, 0.0, 2, 3, 11), 0.2);
}

}  // namespace
}  // namespace cohort
