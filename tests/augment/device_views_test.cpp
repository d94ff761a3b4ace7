// The steps of the kernel, replayed on the CPU, against the views that the CPU makes.
#include "cohort/core/error.h"

#include "device_views_cases.h"

namespace cohort::augment {
namespace {

TEST_P(DeviceViewsTest, ReplayedOnTheCpuAreItsViews) {
  compare_with_the_cpu(at::kCPU);
}

INSTANTIATE_TEST_SUITE_P(All, DeviceViewsTest, ::testing::ValuesIn(device_views_cases()),
                         [](const auto& tested) { return tested.param.name; });

TEST(DeviceViewsOfNoise, AreRefused) {
  data::Description description;
  description.images = {data::PixelType::u8, 1, 8, 8};
  description.mean = {0.0};
  description.deviation = {1.0};
  ViewConfig config;
  config.whole.noise = 0.1;
  EXPECT_THROW(DeviceViews(config, description, Normalisation::dataset, at::kCPU), UsageError);
}

}  // namespace
}  // namespace cohort::augment
