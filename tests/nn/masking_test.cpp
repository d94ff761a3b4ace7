#include "cohort/nn/masking.h"

#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "../support/even.h"

namespace cohort {
namespace {

nn::Conditions conditions_of(std::vector<std::int64_t> samples, std::int64_t step = 3) {
  nn::Conditions conditions;
  conditions.sample = at::tensor(samples);
  conditions.seed = 11;
  conditions.step = step;
  return conditions;
}

TEST(Masking, KeepsAsManyAsThePublishedCode) {
  EXPECT_EQ(nn::kept_patches(16, 0.75), 4);
  EXPECT_EQ(nn::kept_patches(100, 0.9), 9);  // 100 * (1 - 0.9) is 9.999… in double precision
  EXPECT_EQ(nn::kept_patches(10, 0.9), 0);
}

TEST(Masking, EqualNumbersStandInTheOrderOfTheirPatches) {
  const nn::Masking found = nn::random_masking(at::tensor({0.5F, 0.5F, 0.0F, 0.5F}).view({1, 4}), 0.5);
  EXPECT_TRUE(at::equal(found.kept, at::tensor({2, 0}, at::kLong).view({1, 2})));
  EXPECT_TRUE(at::equal(found.restore, at::tensor({1, 2, 0, 3}, at::kLong).view({1, 4})));
  EXPECT_TRUE(at::equal(found.mask, at::tensor({0.0F, 1.0F, 0.0F, 1.0F}).view({1, 4})));
}

TEST(Masking, RestoreFindsEveryPatch) {
  const at::Tensor uniforms = nn::masking_uniforms(30, conditions_of({4, 9, 2}), 0, at::kCPU);
  const nn::Masking found = nn::random_masking(uniforms, 0.6);
  const at::Tensor sorted = std::get<0>(at::sort(uniforms, 1));
  EXPECT_TRUE(at::equal(sorted.gather(1, found.restore), uniforms));
  EXPECT_TRUE(at::equal(found.mask.sum(1), at::full({3}, 18.0F)));
  EXPECT_EQ(found.mask.gather(1, found.kept).sum().item<double>(), 0.0);
}

// Of an image alone: neither of others in the batch nor of its place there.
TEST(Masking, NumbersAreKeyedBySampleStepAndCopy) {
  const auto draw = [](const nn::Conditions& conditions, std::uint32_t copy) {
    return nn::masking_uniforms(20, conditions, copy, at::kCPU);
  };
  const at::Tensor some = draw(conditions_of({4, 9}), 0);
  EXPECT_TRUE(at::equal(some[1], draw(conditions_of({9}), 0)[0]));
  EXPECT_FALSE(at::equal(some[0], some[1]));
  EXPECT_FALSE(at::equal(some, draw(conditions_of({4, 9}), 1)));
  EXPECT_FALSE(at::equal(some, draw(conditions_of({4, 9}, /*step=*/4), 0)));
}

// Of six patches two stay: each of the 15 pairs as often as any other, whatever stays of the next image, in
// the next step and of the other copy.
TEST(MaskingDraws, EveryPairOfPatchesStaysEquallyOftenAndTellsNothingOfOthers) {
  constexpr std::int64_t kImages = 400, kSteps = 20;
  const auto pairs = [](std::int64_t step, std::uint32_t copy) {
    const at::Tensor uniforms =
        nn::masking_uniforms(6, {.sample = at::arange(kImages), .seed = 5, .step = step}, copy, at::kCPU);
    const at::Tensor kept = std::get<0>(nn::random_masking(uniforms, 0.66).kept.sort(1));
    const at::Tensor low = kept.select(1, 0), high = kept.select(1, 1);  // low < high < 6
    const at::Tensor number = at::floor_divide(high * (high - 1), 2) + low;
    const auto* first = number.const_data_ptr<std::int64_t>();
    return std::vector<std::int64_t>(first, first + kImages);
  };
  testing::Counts alone({15}), images({15, 15}), steps({15, 15}), copies({15, 15});
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const auto now = pairs(step, 0), later = pairs(step + 1, 0), other = pairs(step, 1);
    for (std::size_t i = 0; i + 1 < now.size(); ++i) {
      alone.add(now[i]);
      images.add(now[i], now[i + 1]);
      steps.add(now[i], later[i]);
      copies.add(now[i], other[i]);
    }
  }
  for (const testing::Counts* counts : {&alone, &images, &steps, &copies}) testing::expect_even(*counts);
}

}  // namespace
}  // namespace cohort
