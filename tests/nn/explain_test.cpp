#include "cohort/nn/explain.h"

#include <cmath>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "../support/golden.h"
#include "../support/small_model.h"
#include "nn/block.h"

namespace cohort::nn {
namespace {

using testing::indices;
using testing::normal_values;
using testing::relative_difference;

/// On images of 16 x 24 pixels, that is 4 x 6 patches.
struct Setting {
  VitShape shape;
  std::shared_ptr<VisionTransformer> model;
  Conditions conditions;
  Trail trail;
};

constexpr PatchGrid kGrid{4, 6};

VitShape explained_shape() {
  VitShape shape = testing::small_shape();
  shape.height = 16;
  shape.width = 24;
  shape.classes = 3;
  return shape;
}

Setting setting_of(VitShape shape) {
  const c10::NoGradGuard no_gradients;
  Setting setting{shape, testing::small_model(shape, 4.0), {}, {}};
  setting.conditions = {.context = indices({0, 1}).view({2, 1}), .group = indices({0, 1})};
  setting.trail =
      encode_with_trail(*setting.model, normal_values({2, shape.channels, 16, 24}), setting.conditions);
  return setting;
}

VitShape with_context(VitShape shape) {
  shape.context.keys = {"plate"};
  shape.context.amortization = Amortization::mean_linear_layer;
  shape.vocabulary = {2};
  return shape;
}

VitShape with_registers(VitShape shape) {
  shape.registers = 2;
  shape.layer_scale = 0.5;
  return shape;
}

VitShape with_channels(VitShape shape) {
  shape.family = Family::channelvit;
  shape.channels = 2;
  return shape;
}

template <class Module>
Module& module_of(const VisionTransformer& model, const std::string& name) {
  return dynamic_cast<Module&>(*model.named_modules()[name]);
}

/// w_n [N, N], row by row of the definition.
at::Tensor masks(PatchMask mask, std::int64_t patches) {
  at::Tensor weights = at::zeros({patches, patches});
  for (std::int64_t n = 0; n < patches; ++n) {
    for (std::int64_t m = 0; m < patches; ++m) {
      const auto row = [](std::int64_t patch) { return patch % kGrid.count() / kGrid.columns; };
      const auto down = std::abs(row(n) - row(m)), right = std::abs(n % kGrid.columns - m % kGrid.columns);
      const bool near = n / kGrid.count() == m / kGrid.count() && down <= 1 && right <= 1;
      if (mask == PatchMask::delta)
        weights[n][m] = n == m ? 1.0 : 0.0;
      else if (near)
        weights[n][m] = (2.0 - static_cast<double>(down)) * (2.0 - static_cast<double>(right)) / 16;
    }
  }
  return weights;
}

/// One pass through the last block for every patch, with all tokens.
at::Tensor by_definition(const Setting& setting, const ReciprocamConfig& config) {
  const at::Tensor& tokens = setting.trail.inputs.back();
  const std::int64_t others = 1 + setting.shape.registers + std::ssize(setting.shape.context.keys),
                     patches = tokens.size(1) - others, last = setting.shape.depth - 1;
  auto& block = module_of<Block>(*setting.model, "blocks." + std::to_string(last));
  const at::Tensor weights = masks(config.mask, patches);
  std::vector<at::Tensor> scores;
  for (std::int64_t n = 0; n < patches; ++n) {
    const at::Tensor weight = at::cat({at::ones({others}), weights[n]}).view({1, -1, 1});
    const at::Tensor normalised = block.normalise(tokens) * weight,
                     stream = config.residual == MaskedResidual::block ? tokens * weight : normalised;
    const at::Tensor out =
        block.finish(stream, block.attention().forward(normalised, normalised.size(1)), {});
    const at::Tensor cls =
        module_of<torch::nn::LayerNormImpl>(*setting.model, "norm").forward(out).select(1, 0);
    scores.push_back(module_of<torch::nn::LinearImpl>(*setting.model, "head").forward(cls));
  }
  return at::stack(scores, 2);
}

TEST(Explain, TheTrailLeavesTheOutputAndTheModelAsTheyWere) {
  const Setting setting = setting_of(with_context(explained_shape()));
  const c10::NoGradGuard no_gradients;

  const auto output = testing::encode(*setting.model, normal_values({2, 1, 16, 24}), setting.conditions);

  EXPECT_EQ(setting.trail.inputs.size(), 3U);
  EXPECT_TRUE(at::equal(output.logits, setting.trail.logits));
}

TEST(Explain, AttentionTimesValuesIsWhatTheBlockAttendsTo) {
  const Setting setting = setting_of(with_registers(explained_shape()));
  const c10::NoGradGuard no_gradients;
  auto& block = module_of<Block>(*setting.model, "blocks.1");
  const at::Tensor normalised = block.normalise(setting.trail.inputs[1]);

  const at::Tensor weights = attention_weights(*setting.model, 1, setting.trail.inputs[1]);

  const at::Tensor mixed =
      block.attention().join(weights.matmul(block.attention().project(normalised).value));
  EXPECT_LT(relative_difference(mixed, block.attention().forward(normalised, normalised.size(1))), 1e-5);
}

TEST(Explain, RolloutIsTheProductOfHalvedAttentions) {
  const Setting setting = setting_of(with_registers(explained_shape()));
  const c10::NoGradGuard no_gradients;
  at::Tensor product;
  for (std::int64_t layer = 0; layer < 3; ++layer) {
    const at::Tensor attention =
        attention_weights(*setting.model, layer, setting.trail.inputs[static_cast<std::size_t>(layer)])
            .mean(1);
    const at::Tensor with_residual = (attention + at::eye(attention.size(1))) / 2;
    product = product.defined() ? with_residual.matmul(product) : with_residual;
  }

  const at::Tensor rollout = attention_rollout(*setting.model, setting.trail);

  EXPECT_EQ(rollout.sizes(), (std::vector<std::int64_t>{2, 24}));
  EXPECT_LT(relative_difference(rollout, product.select(1, 0).narrow(1, 3, 24)), 1e-5);
}

class Reciprocam : public ::testing::TestWithParam<ReciprocamConfig> {};

TEST_P(Reciprocam, IsWhatOnePassForEachPatchGives) {
  const c10::NoGradGuard no_gradients;
  const VitShape plain = explained_shape();
  for (const VitShape& shape : {plain, with_registers(plain), with_context(plain), with_channels(plain),
                                with_context(with_registers(plain))}) {
    const Setting setting = setting_of(shape);

    const at::Tensor maps = reciprocam(*setting.model, setting.trail, kGrid, GetParam());

    ASSERT_EQ(maps.size(1), 3);
    EXPECT_LT(relative_difference(maps, by_definition(setting, GetParam())), 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Masks, Reciprocam,
                         ::testing::Values(ReciprocamConfig{PatchMask::delta, MaskedResidual::block},
                                           ReciprocamConfig{PatchMask::gaussian, MaskedResidual::block},
                                           ReciprocamConfig{PatchMask::gaussian, MaskedResidual::norm}));

// Without queries attention is uniform and without an MLP nothing follows: what reaches the final norm is a
// constant plus W_o W_v z_n / T.
TEST(Explain, UniformAttentionGivesALinearMapBeforeTheFinalNorm) {
  const c10::NoGradGuard no_gradients;
  VitShape shape = explained_shape();
  shape.depth = 1;
  shape.classes = 1;
  Setting setting = setting_of(shape);
  const auto parameters = setting.model->named_parameters();
  parameters["blocks.0.attn.qkv.weight"].narrow(0, 0, 24).zero_();
  parameters["blocks.0.attn.qkv.bias"].narrow(0, 0, 24).zero_();
  parameters["blocks.0.mlp.fc2.weight"].zero_();
  parameters["blocks.0.mlp.fc2.bias"].zero_();
  const at::Tensor& tokens = setting.trail.inputs.back();
  auto& block = module_of<Block>(*setting.model, "blocks.0");
  const at::Tensor value = parameters["blocks.0.attn.qkv.weight"].narrow(0, 48, 24),
                   out = parameters["blocks.0.attn.proj.weight"];
  const at::Tensor normalised = block.normalise(tokens), patches = normalised.narrow(1, 1, 24);
  const at::Tensor linear = patches.matmul(value.t()).matmul(out.t()) / 25;  // [B, N, D]
  const at::Tensor constant = tokens.narrow(1, 0, 1) +
                              block.attention().join(block.attention().project(at::zeros({1, 1, 24})).value) +
                              normalised.narrow(1, 0, 1).matmul(value.t()).matmul(out.t()) / 25;
  const at::Tensor features =
      at::layer_norm(constant + linear, {24}, parameters["norm.weight"], parameters["norm.bias"], 1e-6);
  const at::Tensor expected = features.matmul(parameters["head.weight"].t()) + parameters["head.bias"];

  const at::Tensor maps = reciprocam(*setting.model, setting.trail, kGrid, {.mask = PatchMask::delta});

  EXPECT_LT(relative_difference(maps, expected.transpose(1, 2)), 1e-5);
}

TEST(Explain, MapsAreScaledAndAConstantOneIsZero) {
  const at::Tensor maps = scaled_maps(at::tensor({2.0, 4.0, 3.0, 5.0, 5.0, 5.0}, at::kDouble).view({2, 3}));

  EXPECT_TRUE(at::allclose(maps, at::tensor({0.0, 1.0, 0.5, 0.0, 0.0, 0.0}, at::kDouble).view({2, 3})));
}

}  // namespace
}  // namespace cohort::nn
