#include "cohort/nn/vit.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include "cohort/core/error.h"
#include "cohort/nn/attention_backend.h"
#include "cohort/nn/position.h"

#include "../support/golden.h"
#include "../support/small_model.h"

namespace cohort {
namespace {

using nn::Amortization;
using testing::conditions_for;
using testing::indices;
using testing::normal_values;
using testing::relative_difference;
using testing::small_model;
using testing::small_shape;

nn::VitShape shape_from(const nn::ModelConfig& model, std::int64_t height = 64, std::int64_t width = 64,
                        const nn::ContextConfig& context = {}) {
  return nn::vit_shape(model, context, std::vector<std::int64_t>(context.keys.size(), 2), 3, height, width,
                       2);
}

TEST(VitShape, FillsInTheNamedSizeAndKeepsWhatWasGiven) {
  const nn::VitShape small = shape_from({.name = "vit_small", .patch_size = 8});
  EXPECT_EQ(small.embed_dim, 384);
  EXPECT_EQ(small.heads, 6);
  EXPECT_EQ(small.depth, 12);
  const nn::VitShape other = shape_from({.name = "vit_large", .patch_size = 8, .width = 128, .depth = 2});
  EXPECT_EQ(other.embed_dim, 128);
  EXPECT_EQ(other.depth, 2);
  EXPECT_EQ(other.heads, 16);
}

std::string message_of(const nn::ModelConfig& model, std::int64_t height = 64, std::int64_t width = 64) {
  try {
    shape_from(model, height, width);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(VitShape, RefusesWhatCannotBe) {
  EXPECT_NE(message_of({.name = "vit_smal"}).find("did you mean 'vit_small'?"), std::string::npos);
  EXPECT_NE(message_of({.patch_size = 24}).find("model.patch_size"), std::string::npos);
  EXPECT_NE(message_of({.patch_size = 16}, 64, 40).find("use one of 2, 4, 8"), std::string::npos);
  EXPECT_NE(message_of({.patch_size = 16}, 31, 37).find("no size above 1 does"), std::string::npos);
  EXPECT_NE(message_of({.width = 100, .heads = 6}).find("model.heads"), std::string::npos);
  EXPECT_THROW(shape_from({}, 64, 64, {.keys = {"a.b"}}), UsageError);
}

TEST(Vit, ParameterNamesAreThoseOfTimmAndOfTheReference) {
  nn::VitShape shape = small_shape({"plate"}, Amortization::mean_linear_layer, {2});
  shape.depth = 1;
  shape.classes = 3;
  const std::vector<std::string> expected{"cls_token",
                                          "pos_embed",
                                          "patch_embed.proj.weight",
                                          "patch_embed.proj.bias",
                                          "cin.model.plate.1.weight",
                                          "cin.model.plate.1.bias",
                                          "blocks.0.norm1.weight",
                                          "blocks.0.norm1.bias",
                                          "blocks.0.attn.qkv.weight",
                                          "blocks.0.attn.qkv.bias",
                                          "blocks.0.attn.proj.weight",
                                          "blocks.0.attn.proj.bias",
                                          "blocks.0.norm2.weight",
                                          "blocks.0.norm2.bias",
                                          "blocks.0.mlp.fc1.weight",
                                          "blocks.0.mlp.fc1.bias",
                                          "blocks.0.mlp.fc2.weight",
                                          "blocks.0.mlp.fc2.bias",
                                          "cin_blocks.0.model.plate.1.weight",
                                          "cin_blocks.0.model.plate.1.bias",
                                          "norm.weight",
                                          "norm.bias",
                                          "head.weight",
                                          "head.bias"};
  EXPECT_EQ(nn::VisionTransformer(shape, 1).named_parameters().keys(), expected);
}

TEST(Vit, WithClsAloneTheSameValuesAndGradients) {
  nn::VitShape shape = small_shape({"plate"}, Amortization::mean_linear_layer, {2});
  shape.classes = 3;
  shape.dropout = 0.2;
  shape.drop_path = 0.2;
  nn::VisionTransformer model(shape, 1);
  nn::Conditions conditions = conditions_for(4, 1);
  conditions.training = true;
  const auto run = [&](unsigned wanted) {
    model.zero_grad();
    const auto output = testing::encode(model, normal_values({4, 1, 8, 8}), conditions, wanted);
    output.logits.square().sum().backward();
    std::vector<at::Tensor> results{output.logits.detach(), output.pooled.detach()};
    for (const at::Tensor& parameter : model.parameters())
      results.push_back(parameter.grad().defined() ? parameter.grad() : at::zeros_like(parameter));
    return std::pair(results, output.tokens.size(1));
  };
  const auto [all, tokens] = run(testing::kAll);
  const auto [cls, kept] = run(nn::Encoder::pooled | nn::Encoder::logits);
  EXPECT_EQ(tokens, 6);
  EXPECT_EQ(kept, 1);
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_TRUE(at::allclose(all[i], cls[i], 1e-4, 1e-6)) << i;
}

TEST(Vit, AnyNumberOfChannelsAndAnyImageSize) {
  for (const std::int64_t channels : {1, 3, 5, 8}) {
    nn::VitShape shape = small_shape({"plate"}, Amortization::mean_linear, {2});
    shape.channels = channels;
    shape.height = 8;
    shape.width = 16;
    shape.classes = 3;
    nn::VisionTransformer model(shape, 1);
    for (const auto& [height, width] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{8, 16}, {16, 8}, {8, 8}, {12, 20}}) {
      const auto output =
          testing::encode(model, normal_values({4, channels, height, width}), conditions_for(4, 1));
      EXPECT_EQ(output.pooled.sizes(), at::IntArrayRef({4, 24}));
      EXPECT_EQ(output.logits.sizes(), at::IntArrayRef({4, 3}));
      EXPECT_EQ(output.tokens.sizes(), at::IntArrayRef({4, 2 + height * width / 16, 24}));
      EXPECT_EQ(output.context.sizes(), at::IntArrayRef({4, 1, 24}));
      EXPECT_TRUE(output.logits.isfinite().all().item<bool>());
    }
    EXPECT_THROW(testing::encode(model, normal_values({4, channels, 8, 18}), conditions_for(4, 1)), Bug);
    EXPECT_THROW(testing::encode(model, normal_values({4, channels + 1, 8, 16}), conditions_for(4, 1)), Bug);
  }
}

TEST(Vit, OutputHasNoLogitsWithoutAHeadAndNoContextWithoutKeys) {
  const auto output = testing::encode(*small_model(small_shape()), normal_values({2, 1, 8, 8}), {});
  EXPECT_FALSE(output.logits.defined());
  EXPECT_FALSE(output.context.defined());
}

// Keeps the input of unit `watched`.
class Watcher final : public nn::UnitRunner {
 public:
  explicit Watcher(std::size_t watched) : watched_(watched) {}
  nn::Tensors run(std::size_t unit, const nn::Tensors& inputs, const Body& body) override {
    order.push_back(unit);
    if (unit == watched_) seen = inputs.front().detach();
    return body(inputs);
  }
  std::vector<std::size_t> order;
  at::Tensor seen;

 private:
  std::size_t watched_;
};

TEST(Vit, PatchesAreRowMajorAfterClsAndContexts) {
  nn::VitShape shape = small_shape({"plate", "camera"}, Amortization::dictionary, {2, 2});
  shape.height = 8;
  shape.width = 12;
  const auto model = small_model(shape);
  Watcher watcher(0);
  model->use(watcher);
  at::Tensor image = normal_values({1, 1, 8, 12});
  testing::encode(*model, image, conditions_for(1, 2));
  const at::Tensor before = watcher.seen;
  image.slice(2, 4, 8).slice(3, 0, 4).add_(1.0);  // second row, first column of 2 x 3 patches: number 3

  testing::encode(*model, image, conditions_for(1, 2));

  const at::Tensor changed = watcher.seen.ne(before).flatten(0, 1).any(1).nonzero().flatten();
  EXPECT_TRUE(at::equal(changed, indices({3 + 3})));
  const auto parameters = model->named_parameters();
  const at::Tensor positions = parameters["pos_embed"][0];
  EXPECT_TRUE(at::allclose(before[0][1], parameters["cin.model.plate.weight"][0] + positions[1]));
  EXPECT_TRUE(at::allclose(before[0][2], parameters["cin.model.camera.weight"][0] + positions[2]));
}

TEST(Vit, LayerwiseContextReplacesTheTokenBetweenBlocks) {
  const auto model = small_model(small_shape({"plate"}, Amortization::mean_layer, {2}));
  Watcher watcher(1);
  model->use(watcher);

  testing::encode(*model, normal_values({4, 1, 8, 8}), conditions_for(4, 1));

  const at::Tensor& tokens = watcher.seen;  // [4, 2 + 4, D]; groups are images {0, 2} and {1, 3}
  const at::Tensor expected = tokens.narrow(1, 2, 4).mean(1);
  for (const std::int64_t i : {0, 1, 2, 3}) {
    EXPECT_LE(relative_difference(tokens[i][1], (expected[i] + expected[(i + 2) % 4]) / 2), 1e-6);
  }
}

TEST(Vit, UnitsRunInOrderAndHoldTheirContextNetworks) {
  const auto model = small_model(small_shape({"plate"}, Amortization::mean_linear_layer, {2}));
  Watcher watcher(0);
  model->use(watcher);

  testing::encode(*model, normal_values({4, 1, 8, 8}), conditions_for(4, 1)).pooled.sum().backward();

  EXPECT_EQ(watcher.order, (std::vector<std::size_t>{0, 1, 2}));
  const auto modules = model->named_modules();
  const auto units = model->units();
  ASSERT_EQ(units.size(), 3U);
  for (std::size_t l = 0; l < 3; ++l) {
    ASSERT_EQ(units[l].size(), 2U);
    EXPECT_EQ(units[l][0], modules["blocks." + std::to_string(l)]);
    EXPECT_EQ(units[l][1], modules["cin_blocks." + std::to_string(l)]);
  }
  // After the last block a new context token would change nothing: no gradient there, but in the networks
  // before it.
  const auto parameters = model->named_parameters();
  EXPECT_TRUE(parameters["cin_blocks.1.model.plate.1.weight"].grad().defined());
  EXPECT_FALSE(parameters["cin_blocks.2.model.plate.1.weight"].grad().defined());
}

TEST(Vit, AMeanOfPatchesTakesThePlaceOfClsAndItsNormThatOfTheLast) {
  nn::VitShape shape = small_shape({"plate"}, Amortization::mean_linear, {2});
  shape.classes = 3;
  shape.pooling = nn::Pooling::mean;
  const auto model = small_model(shape);
  const auto output = testing::encode(*model, normal_values({4, 1, 8, 8}), conditions_for(4, 1));

  const auto parameters = model->named_parameters();
  EXPECT_FALSE(parameters.contains("norm.weight"));
  EXPECT_EQ(model->layer_of("fc_norm.weight"), 4);
  EXPECT_EQ(model->layer_of("head.weight"), 4);
  const at::Tensor mean = output.tokens.narrow(1, 2, 4).mean(1);
  const at::Tensor expected =
      at::layer_norm(mean, {24}, parameters["fc_norm.weight"], parameters["fc_norm.bias"], 1e-6);
  EXPECT_LE(relative_difference(output.pooled, expected), 1e-6);
  const at::Tensor logits = at::linear(expected, parameters["head.weight"], parameters["head.bias"]);
  EXPECT_LE(relative_difference(output.logits, logits), 1e-5);
}

TEST(Vit, PermutingTheImagesPermutesTheOutputs) {
  nn::VitShape shape = small_shape({"plate"}, Amortization::mean_linear_layer, {2});
  shape.dropout = shape.drop_path = 0.2;
  const auto model = small_model(shape);
  const at::Tensor images = normal_values({6, 1, 8, 8}), order = indices({4, 0, 5, 2, 1, 3});
  nn::Conditions conditions = conditions_for(6, 1);
  conditions.training = true;
  nn::Conditions permuted = conditions;
  for (at::Tensor nn::Conditions::*field :
       {&nn::Conditions::group, &nn::Conditions::context, &nn::Conditions::sample}) {
    permuted.*field = (conditions.*field).index_select(0, order);
  }

  const at::Tensor straight = testing::encode(*model, images, conditions).pooled;
  const at::Tensor mixed = testing::encode(*model, images.index_select(0, order), permuted).pooled;

  EXPECT_LE(relative_difference(mixed, straight.index_select(0, order)), 1e-5);
  EXPECT_GT(relative_difference(mixed, straight), 1e-2);
}

TEST(Vit, OtherGroupsDoNotMatterInGroupScope) {
  const auto model = small_model(small_shape({"plate"}, Amortization::mean_linear_layer, {2}));
  at::Tensor images = normal_values({6, 1, 8, 8});
  const at::Tensor before = testing::encode(*model, images, conditions_for(6, 1)).pooled;
  images[1].fill_(9.0);  // group 1 is images 1, 3, 5

  const at::Tensor after = testing::encode(*model, images, conditions_for(6, 1)).pooled;

  const at::Tensor changed = (after - before).abs().amax(1).gt(1e-4);
  EXPECT_TRUE(at::equal(changed, indices({0, 1, 0, 1, 0, 1}).to(at::kBool)));
}

TEST(Vit, StaysCloseToFp32UnderBf16Autocast) {
  const auto model = small_model(small_shape({"plate"}, Amortization::mean_linear_layer, {2}), /*gain=*/4.0);
  const at::Tensor images = normal_values({6, 1, 8, 8});
  const at::Tensor exact = testing::encode(*model, images, conditions_for(6, 1)).pooled;

  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  const at::Tensor rounded = testing::encode(*model, images, conditions_for(6, 1)).pooled;
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  rounded.sum().backward();

  // bf16 keeps 8 bits: 2^-9 = 2e-3 for each rounding, about ten of them in a row through three blocks.
  EXPECT_EQ(rounded.scalar_type(), at::kFloat);
  EXPECT_LE(relative_difference(rounded, exact), 2e-2);
  EXPECT_GT(relative_difference(rounded, exact), 1e-5);
  EXPECT_EQ(model->named_parameters()["blocks.0.attn.qkv.weight"].grad().scalar_type(), at::kFloat);
}

TEST(Positions, TableOfTheSameGridIsUsedAsItIs) {
  const at::Tensor table = normal_values({1, 1 + 6, 4});
  EXPECT_TRUE(nn::interpolate_positions(table, 1, {2, 3}, {2, 3}).is_same(table));
  EXPECT_FALSE(
      nn::interpolate_positions(table, 1, {2, 3}, {3, 2}).is_same(table));  // as many patches, another grid
}

TEST(Positions, RowsAndColumnsAreScaledApart) {
  // Varies along columns only: so must the result, with equal rows.
  at::Tensor table = at::arange(3, at::kFloat).view({1, 1, 3, 1}).expand({1, 2, 3, 1}).reshape({1, 6, 1});
  const at::Tensor wider = nn::interpolate_positions(table, 0, {2, 3}, {4, 9}).view({4, 9});
  EXPECT_TRUE(at::allclose(wider[0], wider[3]));
  EXPECT_TRUE(wider[0].diff().ge(-0.1).all().item<bool>());
  EXPECT_GT(wider[0][8].item<float>() - wider[0][0].item<float>(), 1.8F);
}

TEST(AttentionBackend, IsTheFusedOneUnlessSomethingStandsAgainstIt) {
  const at::Tensor tokens = at::zeros({1, 2, 9, 16});
  EXPECT_EQ(nn::attention_backend(tokens, tokens, tokens), "flash");
  EXPECT_EQ(nn::attention_backend(tokens.to(at::kInt), tokens.to(at::kInt), tokens.to(at::kInt)), "math");
}

}  // namespace
}  // namespace cohort
