#include "cohort/method/mixing.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "../support/even.h"
#include "../support/small_model.h"

namespace cohort::method {
namespace {

constexpr std::int64_t kMembers = 4, kSeed = 3, kStep = 11;

at::Tensor numbers_of(std::int64_t groups) {
  return at::arange(groups * kMembers).div(kMembers, "floor");
}

Mixed mixed_groups(std::int64_t groups, const Mixing& mixing, std::int64_t size = 6) {
  const at::Tensor images = testing::normal_values({groups * kMembers, 2, size, size});
  return mix_groups(images, numbers_of(groups), mixing, kSeed, kStep);
}

TEST(Mixing, PartnersAreOfOneGroupAndHaveEachOther) {
  const Mixed mixed = mixed_groups(3, {.mixup = 1.0});

  EXPECT_TRUE(mixed.partner.index_select(0, mixed.partner).equal(at::arange(3 * kMembers)));
  EXPECT_TRUE(numbers_of(3).index_select(0, mixed.partner).equal(numbers_of(3)));
  EXPECT_TRUE(mixed.share.index_select(0, mixed.partner).equal(mixed.share));
  EXPECT_NE(mixed.share[0].item<float>(), mixed.share[kMembers].item<float>()) << "a share for each group";
}

TEST(Mixing, MixupAddsImagesByTheirShares) {
  const at::Tensor images = testing::normal_values({2 * kMembers, 2, 6, 6});

  const Mixed mixed = mix_groups(images, numbers_of(2), {.mixup = 0.4}, kSeed, kStep);

  const at::Tensor share = mixed.share.view({-1, 1, 1, 1});
  EXPECT_TRUE(at::allclose(mixed.images, share * images + (1 - share) * images.index_select(0, mixed.partner),
                           1e-5, 1e-6));
}

TEST(Mixing, CutMixTakesEveryPixelFromOneOfTheTwoByShare) {
  const at::Tensor images = testing::normal_values({20 * kMembers, 2, 8, 8});

  const Mixed mixed = mix_groups(images, numbers_of(20), {.cutmix = 1.0}, kSeed, kStep);

  const at::Tensor own = mixed.images.eq(images),
                   other = mixed.images.eq(images.index_select(0, mixed.partner));
  EXPECT_TRUE(own.logical_or(other).all().item<bool>());
  EXPECT_TRUE(at::allclose(own.to(at::kFloat).mean(at::IntArrayRef{1, 2, 3}), mixed.share));
  EXPECT_LT(mixed.share.min().item<float>(), 0.9F);
}

// Mean 1/2 and variance 1/(4(2α + 1)) of Beta(α, α).
TEST(Mixing, SharesHaveTheirDistribution) {
  constexpr std::int64_t kGroups = 4000;
  for (const double alpha : {0.3, 1.0, 4.0}) {
    const at::Tensor share = mixed_groups(kGroups, {.mixup = alpha}, 1).share.slice(0, 0, {}, kMembers);
    EXPECT_NEAR(share.mean().item<double>(), 0.5, 0.03) << alpha;
    EXPECT_NEAR(share.var().item<double>(), 1 / (4 * (2 * alpha + 1)), 0.006) << alpha;
    EXPECT_GE(share.min().item<double>(), 0) << alpha;
    EXPECT_LE(share.max().item<double>(), 1) << alpha;
  }
}

TEST(Mixing, WithBothEachGroupDoesOne) {
  const at::Tensor images = testing::normal_values({200 * kMembers, 1, 8, 8});
  const Mixed mixed = mix_groups(images, numbers_of(200), {.mixup = 1.0, .cutmix = 1.0}, kSeed, kStep);
  std::int64_t pasted = 0;
  for (std::int64_t i = 0; i < 200 * kMembers; i += kMembers) {
    const at::Tensor own = mixed.images[i].eq(images[i]),
                     other = mixed.images[i].eq(images[mixed.partner[i].item<std::int64_t>()]);
    pasted += own.logical_or(other).all().item<bool>() ? 1 : 0;
  }
  EXPECT_GT(pasted, 70);
  EXPECT_LT(pasted, 130);
}

TEST(Mixing, AGroupIsMixedAlikeInAnyBatchAndDifferentlyInTheNextStep) {
  const at::Tensor images = testing::normal_values({3 * kMembers, 2, 6, 6}), group = numbers_of(3);
  const Mixing mixing{.mixup = 0.8, .cutmix = 0.8};

  const Mixed whole = mix_groups(images, group, mixing, kSeed, kStep);
  const Mixed part = mix_groups(images.narrow(0, 2 * kMembers, kMembers),
                                group.narrow(0, 2 * kMembers, kMembers), mixing, kSeed, kStep);
  const Mixed next = mix_groups(images, group, mixing, kSeed, kStep + 1);

  EXPECT_TRUE(part.images.equal(whole.images.narrow(0, 2 * kMembers, kMembers)));
  EXPECT_FALSE(next.share.equal(whole.share));
}

/// Shares of `groups` groups of two images of one pixel.
std::vector<double> shares(std::int64_t groups, const Mixing& mixing, std::uint64_t seed, std::int64_t step) {
  const at::Tensor numbers = at::arange(2 * groups).div(2, "floor");
  const at::Tensor share = mix_groups(at::zeros({2 * groups, 1, 1, 1}), numbers, mixing, seed, step).share;
  std::vector<double> values;
  for (std::int64_t group = 0; group < groups; ++group)
    values.push_back(static_cast<double>(share.const_data_ptr<float>()[2 * group]));
  return values;
}

// Beta(1, 1) is uniform.
TEST(MixingDraws, SharesOfGroupsStepsAndSeedsAreIndependent) {
  constexpr std::int64_t kGroups = 3000;
  const std::vector<double> these = shares(kGroups, {.mixup = 1.0}, kSeed, kStep),
                            later = shares(kGroups, {.mixup = 1.0}, kSeed, kStep + 1),
                            others = shares(kGroups, {.mixup = 1.0}, kSeed + 1, kStep);
  const auto part = [](double share) { return testing::part_of(share, 0, 1, 8); };
  testing::Counts groups({8, 8}), steps({8, 8}), seeds({8, 8});
  for (std::size_t i = 0; i < these.size(); ++i) {
    groups.add(part(these[i]), part(these[(i + 1) % these.size()]));
    steps.add(part(these[i]), part(later[i]));
    seeds.add(part(these[i]), part(others[i]));
  }
  for (const testing::Counts& counts : {groups, steps, seeds}) testing::expect_even(counts);
}

// Shares of Beta(1e8, 1e8) are 1/2: boxes of 2 x 3 pixels to each side of their middle, which is anywhere.
TEST(MixingDraws, MiddlesOfBoxesAreEveryPixelEquallyOften) {
  constexpr std::int64_t kGroups = 4000, kSize = 9, kHalf = 3;
  at::Tensor images = at::zeros({2 * kGroups, 1, kSize, kSize});
  images.view({kGroups, 2, -1}).select(1, 1).fill_(1.0);
  const Mixed mixed =
      mix_groups(images, at::arange(2 * kGroups).div(2, "floor"), {.cutmix = 1e8}, kSeed, kStep);
  const at::Tensor pasted = mixed.images.view({kGroups, 2, kSize, kSize}).select(1, 0).ne(0);
  const auto middle = [](const at::Tensor& line) {  // of the rows or columns that are pasted
    const auto count = line.sum().item<std::int64_t>(),
               first = line.to(at::kInt).argmax().item<std::int64_t>();
    return first > 0 ? first + kHalf : count - kHalf;
  };
  testing::Counts middles({kSize, kSize});
  for (std::int64_t group = 0; group < kGroups; ++group)
    middles.add(middle(pasted[group].any(1)), middle(pasted[group].any(0)));
  testing::expect_even(middles);
}

TEST(MixingDraws, WhatAGroupDoesDoesNotDependOnTheOneBefore) {
  constexpr std::int64_t kGroups = 2000;
  at::Tensor images = at::zeros({2 * kGroups, 1, 4, 4});
  images.view({kGroups, 2, -1}).select(1, 1).fill_(1.0);
  const Mixed mixed = mix_groups(images, at::arange(2 * kGroups).div(2, "floor"),
                                 {.mixup = 1.0, .cutmix = 1.0}, kSeed, kStep);
  const at::Tensor whole = mixed.images.eq(0).logical_or(mixed.images.eq(1)).flatten(1).all(1);
  testing::Counts pastes({2, 2});
  for (std::int64_t group = 1; group < kGroups; ++group)
    pastes.add(whole[2 * group - 2].item<bool>(), whole[2 * group].item<bool>());
  testing::expect_even(pastes);
}

}  // namespace
}  // namespace cohort::method
