#include "cohort/nn/explain.h"

#include <algorithm>
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
at::Tensor masks(const ReciprocamConfig& config, std::int64_t patches) {
  at::Tensor weights = at::zeros({patches, patches});
  for (std::int64_t n = 0; n < patches; ++n) {
    for (std::int64_t m = 0; m < patches; ++m) {
      const auto row = [](std::int64_t patch) { return patch % kGrid.count() / kGrid.columns; };
      const auto down = std::abs(row(n) - row(m)), right = std::abs(n % kGrid.columns - m % kGrid.columns);
      const bool same_channel = n / kGrid.count() == m / kGrid.count();
      if (config.mask == PlaceMask::delta)
        weights[n][m] = n == m ? 1.0 : 0.0;
      else if (config.mask == PlaceMask::square)
        weights[n][m] = same_channel && 2 * std::max(down, right) < config.side ? 1.0 : 0.0;
      else if (same_channel && down <= 1 && right <= 1)
        weights[n][m] = (2.0 - static_cast<double>(down)) * (2.0 - static_cast<double>(right)) / 16;
    }
  }
  return weights;
}

/// Behind block `layer`: the context tokens of the whole image, where they are made anew.
at::Tensor next_contexts(const Setting& setting, const at::Tensor& tokens, std::int64_t layer) {
  const std::int64_t keys = std::ssize(setting.shape.context.keys), first = 1 + setting.shape.registers;
  if (keys == 0 || layer + 1 == setting.shape.depth) return tokens;
  at::Tensor changed = tokens.clone();
  changed.narrow(1, first, keys)
      .copy_(setting.trail.inputs[static_cast<std::size_t>(layer) + 1].narrow(1, first, keys));
  return changed;
}

/// A pass from the masked block on for every patch, with all tokens.
at::Tensor by_definition(const Setting& setting, const ReciprocamConfig& config) {
  const std::int64_t target = setting.shape.depth - config.block;
  const at::Tensor& tokens = setting.trail.inputs[static_cast<std::size_t>(target)];
  const std::int64_t others = 1 + setting.shape.registers + std::ssize(setting.shape.context.keys),
                     patches = tokens.size(1) - others;
  const auto block_of = [&](std::int64_t layer) -> Block& {
    return module_of<Block>(*setting.model, "blocks." + std::to_string(layer));
  };
  const at::Tensor weights = masks(config, patches);
  std::vector<at::Tensor> scores;
  for (std::int64_t n = 0; n < patches; ++n) {
    const at::Tensor auxiliary = at::full({others}, config.keep_auxiliary ? 1.0 : 0.0);
    const at::Tensor weight = at::cat({auxiliary, weights[n]}).view({1, -1, 1});
    const at::Tensor normalised = block_of(target).normalise(tokens) * weight,
                     stream = config.residual == MaskedResidual::block ? tokens * weight : normalised;
    at::Tensor out = block_of(target).finish(
        stream, block_of(target).attention().forward(normalised, normalised.size(1)), {});
    for (std::int64_t layer = target + 1; layer < setting.shape.depth; ++layer)
      out = block_of(layer).forward(next_contexts(setting, out, layer - 1), {}, out.size(1));
    const bool is_mean = setting.shape.pooling == Pooling::mean;
    const at::Tensor pooled = is_mean ? out.narrow(1, others, patches).mean(1) : out.select(1, 0);
    const at::Tensor features =
        module_of<torch::nn::LayerNormImpl>(*setting.model, is_mean ? "fc_norm" : "norm").forward(pooled);
    scores.push_back(module_of<torch::nn::LinearImpl>(*setting.model, "head").forward(features));
  }
  const at::Tensor all = at::stack(scores, 2);
  return config.score == MapScore::softmax ? all.softmax(1) : all;
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

TEST_P(Reciprocam, IsTheSameOfMaskedCopiesInChunks) {
  const c10::NoGradGuard no_gradients;
  for (const VitShape& shape : {with_registers(explained_shape()), with_context(explained_shape()),
                                with_channels(explained_shape())}) {
    const Setting setting = setting_of(shape);
    ReciprocamConfig config = GetParam();
    config.chunk = 7;

    const at::Tensor maps = reciprocam_by_copies(*setting.model, setting.trail, kGrid, config);

    EXPECT_LT(relative_difference(maps, reciprocam(*setting.model, setting.trail, kGrid, config)), 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Masks, Reciprocam,
    ::testing::Values(ReciprocamConfig{.mask = PlaceMask::delta}, ReciprocamConfig{},
                      ReciprocamConfig{.residual = MaskedResidual::norm},
                      ReciprocamConfig{.mask = PlaceMask::square, .side = 5},
                      ReciprocamConfig{.keep_auxiliary = false}, ReciprocamConfig{.score = MapScore::softmax},
                      ReciprocamConfig{.block = 2},
                      ReciprocamConfig{.mask = PlaceMask::delta, .keep_auxiliary = false, .block = 3}));

TEST(Explain, TheMeanOfPatchesAnswersByMaskedCopies) {
  const c10::NoGradGuard no_gradients;
  VitShape shape = with_registers(explained_shape());
  shape.pooling = Pooling::mean;
  const Setting setting = setting_of(shape);

  const at::Tensor maps = reciprocam(*setting.model, setting.trail, kGrid);

  EXPECT_LT(relative_difference(maps, by_definition(setting, {})), 1e-5);
}

TEST(Explain, RolloutOfAMeanIsThatOfItsPatches) {
  VitShape shape = with_registers(explained_shape());
  shape.pooling = Pooling::mean;
  const Setting setting = setting_of(shape);
  const c10::NoGradGuard no_gradients;
  at::Tensor product = at::eye(27).unsqueeze(0);
  for (std::int64_t layer = 0; layer < 3; ++layer) {
    const at::Tensor attention =
        attention_weights(*setting.model, layer, setting.trail.inputs[static_cast<std::size_t>(layer)])
            .mean(1);
    product = ((attention + at::eye(27)) / 2).matmul(product);
  }

  const at::Tensor rollout = attention_rollout(*setting.model, setting.trail);

  EXPECT_LT(relative_difference(rollout, product.narrow(1, 3, 24).mean(1).narrow(1, 3, 24)), 1e-5);
  const at::Tensor last = attention_weights(*setting.model, 2, setting.trail.inputs[2]);
  EXPECT_LT(relative_difference(attention_of_answer(*setting.model, setting.trail),
                                last.narrow(2, 3, 24).mean(2).narrow(2, 3, 24)),
            1e-5);
}

// Rows of the classifier that change their places.
TEST(Explain, ClassesThatChangePlacesTakeTheirMapsAlong) {
  const c10::NoGradGuard no_gradients;
  const Setting setting = setting_of(explained_shape());
  const at::Tensor before = reciprocam(*setting.model, setting.trail, kGrid), order = indices({2, 0, 1});
  const auto parameters = setting.model->named_parameters();
  for (const char* name : {"head.weight", "head.bias"})
    parameters[name].copy_(parameters[name].index_select(0, order));

  EXPECT_TRUE(at::equal(reciprocam(*setting.model, setting.trail, kGrid), before.index_select(1, order)));
}

TEST(Explain, AConstantHeadGivesMapsOfZeros) {
  const c10::NoGradGuard no_gradients;
  const Setting setting = setting_of(explained_shape());
  setting.model->named_parameters()["head.weight"].zero_();

  const at::Tensor maps = scaled_maps(reciprocam(*setting.model, setting.trail, kGrid));

  EXPECT_TRUE(maps.eq(0).all().item<bool>());
}

// The context tokens of an image are those of its group, whatever becomes of its pixels.
TEST(Explain, AChangedImageKeepsTheContextThatItHad) {
  const c10::NoGradGuard no_gradients;
  for (const VitShape& shape : {explained_shape(), with_context(explained_shape()),
                                with_context(with_registers(explained_shape()))}) {
    const Setting setting = setting_of(shape);
    const at::Tensor images = normal_values({2, 1, 16, 24}), from = indices({1, 0, 1});

    const Trail again =
        encode_beside(*setting.model, images.index_select(0, from), setting.conditions, setting.trail, from);
    const Trail zeros = encode_beside(*setting.model, at::zeros({1, 1, 16, 24}), setting.conditions,
                                      setting.trail, indices({1}));

    EXPECT_LT(relative_difference(again.logits, setting.trail.logits.index_select(0, from)), 1e-5);
    const std::int64_t keys = std::ssize(shape.context.keys), first = 1 + shape.registers;
    for (std::size_t layer = 0; layer < 3 && keys > 0; ++layer)
      EXPECT_TRUE(at::equal(zeros.inputs[layer].narrow(1, first, keys),
                            setting.trail.inputs[layer].narrow(0, 1, 1).narrow(1, first, keys)));
  }
}

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

  const at::Tensor maps = reciprocam(*setting.model, setting.trail, kGrid, {.mask = PlaceMask::delta});

  EXPECT_LT(relative_difference(maps, expected.transpose(1, 2)), 1e-5);
}

TEST(Explain, MapsAreScaledAndAConstantOneIsZero) {
  const at::Tensor maps = scaled_maps(at::tensor({2.0, 4.0, 3.0, 5.0, 5.0, 5.0}, at::kDouble).view({2, 3}));

  EXPECT_TRUE(at::allclose(maps, at::tensor({0.0, 1.0, 0.5, 0.0, 0.0, 0.0}, at::kDouble).view({2, 3})));
}

}  // namespace
}  // namespace cohort::nn
