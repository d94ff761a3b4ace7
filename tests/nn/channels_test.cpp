// ChannelViT, registers and subsets of channels: properties that need no golden file.
#include <array>
#include <cmath>
#include <map>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/nn/channel_sampling.h"
#include "cohort/nn/vit.h"

#include "../support/golden.h"
#include "../support/small_model.h"

namespace cohort {
namespace {

using testing::indices;
using testing::normal_values;
using testing::relative_difference;

nn::VitShape channel_shape(std::int64_t channels) {
  nn::VitShape shape = testing::small_shape();
  shape.family = nn::Family::channelvit;
  shape.channels = channels;
  return shape;
}

TEST(ChannelVit, TheOrderOfChannelsDoesNotMatter) {
  const auto model = testing::small_model(channel_shape(4));
  const at::Tensor images = normal_values({2, 4, 8, 8}), order = indices({2, 0, 3, 1});

  const at::Tensor straight = testing::encode(*model, images, {}).pooled;
  const at::Tensor permuted =
      testing::encode(*model, images.index_select(1, order), {.channels = order}).pooled;

  EXPECT_LE(relative_difference(permuted, straight), 1e-5);
}

TEST(ChannelVit, ChannelsMatter) {
  const auto model = testing::small_model(channel_shape(4));
  const at::Tensor images = normal_values({2, 1, 8, 8});
  const at::Tensor one = testing::encode(*model, images, {.channels = indices({1})}).pooled,
                   three = testing::encode(*model, images, {.channels = indices({3})}).pooled;
  EXPECT_GT(relative_difference(three, one), 1e-2);
}

TEST(ChannelVit, RefusesAChannelThatItDoesNotKnow) {
  const auto model = testing::small_model(channel_shape(2));
  EXPECT_THROW(testing::encode(*model, normal_values({1, 1, 8, 8}), {.channels = indices({2})}), DataError);
}

// Images of half the size have as many tokens as the table has rows, four channels of them: the reference
// then takes the table as it is. Ours interpolates to 1 x 1 patch and repeats that.
TEST(ChannelVit, FourChannelsAtHalfTheSizeShareTheirPosition) {
  const at::Tensor table = normal_values({1, 5, 6});
  const at::Tensor repeated =
      nn::repeat_positions(table, 1, {2, 2}, {1, 1}, nn::PositionInterpolation::reference, 4);
  ASSERT_EQ(repeated.size(1), 5);
  for (int channel = 1; channel < 4; ++channel)
    EXPECT_TRUE(at::equal(repeated.select(1, 1), repeated.select(1, 1 + channel)));
}

TEST(ChannelVit, ExactPositionsAreCopiedAtTheTablesOwnSize) {
  const at::Tensor table = normal_values({1, 5, 6});
  const at::Tensor repeated =
      nn::repeat_positions(table, 1, {2, 2}, {2, 2}, nn::PositionInterpolation::exact, 3);
  EXPECT_TRUE(at::equal(repeated.narrow(1, 1, 4), table.narrow(1, 1, 4)));
  EXPECT_TRUE(at::equal(repeated.narrow(1, 9, 4), table.narrow(1, 1, 4)));
}

TEST(ChannelVit, TrainsOnTheSampledChannelsAlone) {
  nn::VitShape shape = channel_shape(4);
  shape.channel_sampling = true;
  const auto model = testing::small_model(shape);
  const at::Tensor images = normal_values({2, 4, 8, 8});
  for (std::int64_t step = 0; step < 4; ++step) {
    const at::Tensor kept = indices(nn::sample_channels(4, 5, step));
    const at::Tensor trained =
        testing::encode(*model, images,
                        {.sample = indices({0, 1}), .seed = 5, .step = step, .training = true})
            .pooled;
    const at::Tensor subset =
        testing::encode(*model, images.index_select(1, kept), {.channels = kept}).pooled;
    EXPECT_TRUE(at::equal(trained, subset)) << "step " << step;
  }
}

TEST(ChannelSampling, OneTokenForAllChannelsSeesTheRestAsZeros) {
  const at::Tensor images = normal_values({2, 4, 3, 3});
  const at::Tensor kept = nn::keep_channels(images, indices({1, 3}));
  EXPECT_TRUE(at::equal(kept.select(1, 1), images.select(1, 1) * 2.0));
  EXPECT_EQ(kept.select(1, 0).abs().max().item<float>(), 0.0F);
}

// P(S) = 1 / (C binom(C, |S|)): chi-square over the 15 subsets of 4 channels; 14 degrees of freedom are
// exceeded at 36.1 with probability 0.001.
TEST(ChannelSampling, SubsetsHaveTheirProbabilities) {
  constexpr int kDraws = 10000;
  constexpr std::array<double, 5> kBinomial{1, 4, 6, 4, 1};
  std::map<std::vector<std::int64_t>, int> counts;
  for (int step = 0; step < kDraws; ++step) ++counts[nn::sample_channels(4, 11, step)];
  ASSERT_EQ(counts.size(), 15U);
  double chi_square = 0.0;
  for (const auto& [subset, count] : counts) {
    const double expected = kDraws / (4.0 * kBinomial[subset.size()]);
    chi_square += (count - expected) * (count - expected) / expected;
  }
  EXPECT_LT(chi_square, 36.1);
}

TEST(Registers, StandBetweenClsAndContext) {
  nn::VitShape shape = testing::small_shape({"plate"}, nn::Amortization::mean_linear_layer, {2});
  shape.registers = 3;
  const auto model = testing::small_model(shape);
  const at::Tensor group = indices({0, 0});
  const auto output =
      testing::encode(*model, normal_values({2, 1, 8, 8}), {.context = group.unsqueeze(1), .group = group});
  EXPECT_EQ(output.tokens.size(1), 1 + 3 + 1 + 4);
  EXPECT_EQ(model->named_parameters()["pos_embed"].size(1), 4) << "positions of patches alone, as in timm";
  output.pooled.square().sum().backward();
  EXPECT_GT(model->named_parameters()["reg_token"].grad().abs().max().item<float>(), 0.0F);
}

TEST(Registers, ExactPositionsOfAnotherSizeAreAntialiased) {
  const at::Tensor table = normal_values({1, 64, 5});
  const at::Tensor fitted =
      nn::interpolate_positions(table, 0, {8, 8}, {3, 2}, nn::PositionInterpolation::exact);
  ASSERT_EQ(fitted.size(1), 6);
  const at::Tensor constant =
      nn::interpolate_positions(at::ones({1, 64, 5}), 0, {8, 8}, {3, 2}, nn::PositionInterpolation::exact);
  EXPECT_LE((constant - 1.0).abs().max().item<float>(), 1e-6F);
}

}  // namespace
}  // namespace cohort
