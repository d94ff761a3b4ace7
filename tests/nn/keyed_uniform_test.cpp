// The body of the kernel, replayed on the CPU, against the streams of the CPU.
#include "nn/keyed_uniform.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace cohort::nn {
namespace {

TEST(KeyedUniform, IsTheSameByTheBodyOfTheKernel) {
  const at::Tensor sample = at::tensor({7L, 0L, (1L << 40) + 3, 7L}, at::kLong);
  const Conditions conditions{.sample = sample, .seed = 42, .step = 1234567, .training = true};
  for (const std::int64_t count : {1, 3, 4, 5, 1023}) {
    const at::Tensor ours = replayed_uniform(count, Purpose::dropout, conditions, 9),
                     streams = keyed_uniform(count, Purpose::dropout, conditions, 9, at::kCPU);
    EXPECT_TRUE(at::equal(ours, streams)) << count << " values an image";
    EXPECT_TRUE(at::equal(ours[0], ours[3]));
    EXPECT_FALSE(at::equal(ours[0], ours[1]));
  }
  EXPECT_FALSE(at::equal(replayed_uniform(8, Purpose::dropout, conditions, 9),
                         keyed_uniform(8, Purpose::drop_path, conditions, 9, at::kCPU)));
}

}  // namespace
}  // namespace cohort::nn
