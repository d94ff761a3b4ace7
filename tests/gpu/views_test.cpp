// The kernel of views against the CPU.
#include "augment/device_views_cases.h"

namespace cohort::augment {
namespace {

TEST_P(DeviceViewsTest, MadeByTheKernelAreThoseOfTheCpu) {
  compare_with_the_cpu(at::kCUDA);
}

INSTANTIATE_TEST_SUITE_P(Gpu, DeviceViewsTest, ::testing::ValuesIn(device_views_cases()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace cohort::augment
