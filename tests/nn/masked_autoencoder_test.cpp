// The masked autoencoder beside its reference numbers (golden_check, masked.mae): what it must not see, what
// it has to see, how it begins, what it refuses.
#include "cohort/nn/masked_autoencoder.h"

#include <cmath>
#include <memory>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/nn/masking.h"

#include "../support/golden.h"
#include "../support/small_model.h"

namespace cohort::nn {
namespace {

using testing::normal_values;

constexpr std::int64_t kSeenImages = 4;

VitShape masked_shape(bool contextual) {
  VitShape shape =
      contextual ? testing::small_shape({"plate"}, Amortization::mean_linear, {2}) : testing::small_shape();
  shape.height = shape.width = 16;  // 16 patches
  shape.depth = 2;
  return shape;
}

std::shared_ptr<MaskedAutoencoder> autoencoder(const VitShape& shape) {
  auto model = std::make_shared<MaskedAutoencoder>(std::make_shared<VisionTransformer>(shape, 1),
                                                   DecoderShape{.width = 12, .depth = 1, .heads = 3});
  initialise(*model, 5);
  return model;
}

/// Two groups of two images, a context each.
Conditions two_groups() {
  Conditions conditions;
  conditions.group = testing::indices({0, 0, 1, 1});
  conditions.context = conditions.group.unsqueeze(1);
  conditions.sample = testing::indices({3, 5, 8, 9});
  return conditions;
}

Masking half_masked(std::int64_t patches) {
  return random_masking(masking_uniforms(patches, two_groups(), 0, at::kCPU), 0.5);
}

/// `images`, other values in the patches of which `chosen` [B, N] is 1.
at::Tensor changed_in(const at::Tensor& images, const at::Tensor& chosen, std::int64_t patch) {
  const at::Tensor patches = patches_of(images, patch);
  const at::Tensor other = patches_of(normal_values(images.sizes().vec(), 77), patch);
  const std::int64_t side = images.size(2) / patch;
  return images_of(at::where(chosen.unsqueeze(2).gt(0), other, patches), {side, side}, patch);
}

class MaskedModel : public ::testing::TestWithParam<bool> {
 protected:
  at::Tensor predict(const at::Tensor& images) {
    const at::NoGradGuard no_gradients;
    return model_->forward(images, masking_, two_groups());
  }

  std::shared_ptr<MaskedAutoencoder> model_ = autoencoder(masked_shape(GetParam()));
  at::Tensor images_ = normal_values({kSeenImages, 1, 16, 16});
  Masking masking_ = half_masked(16);
};

TEST_P(MaskedModel, NothingOfWhatIsRemovedIsSeen) {
  EXPECT_TRUE(at::equal(predict(changed_in(images_, masking_.mask, 4)), predict(images_)));
  EXPECT_FALSE(at::equal(predict(changed_in(images_, 1 - masking_.mask, 4)), predict(images_)));
}

TEST_P(MaskedModel, AnotherImageOfTheGroupIsSeenThroughTheContextAlone) {
  at::Tensor other = images_.clone();
  other[0].add_(1);
  const at::Tensor before = predict(images_), after = predict(other);

  EXPECT_EQ(at::equal(after[1], before[1]), !GetParam());
  EXPECT_TRUE(at::equal(after.narrow(0, 2, 2), before.narrow(0, 2, 2))) << "of another group";
}

INSTANTIATE_TEST_SUITE_P(Contexts, MaskedModel, ::testing::Bool());

TEST(MaskedAutoencoder, BeginsAsPublished) {
  const auto model = autoencoder(masked_shape(true));
  const auto parameters = model->named_parameters();
  const at::Tensor table = fixed_positions(24, 2, {4, 4}, PositionOrder::mae);
  EXPECT_TRUE(at::equal(parameters["backbone.pos_embed"], table));
  const auto largest = [&](const char* name) { return parameters[name].abs().max().item<double>(); };
  EXPECT_EQ(largest("decoder_pred.bias"), 0);
  EXPECT_EQ(largest("backbone.patch_embed.proj.bias"), 0);
  const auto expect_just_below = [&](const char* name, double bound) {
    EXPECT_LE(largest(name), bound) << name;
    EXPECT_GE(largest(name), 0.97 * bound) << name;
  };
  expect_just_below("backbone.patch_embed.proj.weight", std::sqrt(6.0 / (24 + 16)));
  expect_just_below("backbone.blocks.1.attn.qkv.weight", std::sqrt(6.0 / (24 + 72)));
  expect_just_below("decoder_embed.weight", std::sqrt(6.0 / (24 + 12)));
  EXPECT_GT(largest("mask_token"), 0);
  EXPECT_LT(largest("mask_token"), 0.1);
}

TEST(MaskedAutoencoder, RefusesWhatItCannotPredict) {
  VitShape channels = masked_shape(false);
  channels.family = Family::channelvit;
  EXPECT_THROW(autoencoder(channels), UsageError);
  const auto backbone = std::make_shared<VisionTransformer>(masked_shape(false), 1);
  EXPECT_THROW(MaskedAutoencoder(backbone, {.width = 12, .depth = 1, .heads = 5}), UsageError);
}

TEST(Patches, ComeBackAsTheImages) {
  const at::Tensor images = normal_values({2, 3, 8, 12});
  const at::Tensor patches = patches_of(images, 4);
  EXPECT_EQ(patches.sizes(), at::IntArrayRef({2, 6, 48}));
  EXPECT_EQ(patches[1][4][(1 * 4 + 2) * 3 + 2].item<float>(), images[1][2][5][6].item<float>());
  EXPECT_TRUE(at::equal(images_of(patches, {2, 3}, 4), images));
}

}  // namespace
}  // namespace cohort::nn
