// Heads that make values for every place, and models that are an encoder and such a head.
#include "cohort/nn/dense_head.h"

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/nn/dense_predictor.h"
#include "cohort/nn/feature_pyramid.h"
#include "cohort/nn/mask_transformer.h"
#include "cohort/nn/resnet.h"
#include "cohort/nn/unet_head.h"

#include "../support/golden.h"
#include "../support/small_model.h"

namespace cohort {
namespace {

using testing::normal_values;
using testing::relative_difference;

constexpr std::int64_t kOutputs = 3;

nn::ResNetShape small_resnet() {
  nn::ResNetShape shape;
  shape.channels = 1;
  shape.bottleneck = false;
  shape.depths = {1, 1, 1, 1};
  shape.width = 4;
  return shape;
}

nn::DenseInput maps_of(const std::vector<std::vector<std::int64_t>>& sizes) {
  nn::DenseInput input;
  for (std::size_t i = 0; i < sizes.size(); ++i)
    input.features.maps.push_back({normal_values(sizes[i], static_cast<std::int64_t>(i)), 4 << i});
  return input;
}

std::vector<std::string> parameter_names(const torch::nn::Module& module) {
  std::vector<std::string> names;
  for (const auto& parameter : module.named_parameters()) names.push_back(parameter.key());
  return names;
}

TEST(Resized, IsBilinearWithoutAlignedCorners) {
  for (const auto& [height, width] : {std::pair{7, 12}, {3, 2}, {8, 5}}) {
    const at::Tensor values = normal_values({2, 3, 4, 5}).requires_grad_(), same = values.detach().clone();
    same.requires_grad_();
    const at::Tensor expected = at::upsample_bilinear2d(same, {height, width}, /*align_corners=*/false),
                     weights = normal_values({2, 3, height, width}, 1);
    const at::Tensor actual = nn::resized(values, height, width);
    (actual * weights).sum().backward();
    (expected * weights).sum().backward();
    EXPECT_LE(relative_difference(actual, expected), 1e-6) << height << " x " << width;
    EXPECT_LE(relative_difference(values.grad(), same.grad()), 1e-6) << height << " x " << width;
  }
  const at::Tensor as_it_is = normal_values({1, 1, 4, 4});
  EXPECT_TRUE(nn::resized(as_it_is, 4, 4).is_same(as_it_is));
}

// The map of a vision transformer is its patches alone, whatever tokens stand before them, row by row.
TEST(DensePredictor, ReadsPatchesBehindAllOtherTokens) {
  nn::VitShape shape = testing::small_shape({"plate", "site"}, nn::Amortization::mean_linear, {2, 2});
  shape.registers = 2;
  const auto encoder = testing::small_model(shape, /*gain=*/3.0);
  const auto head = std::make_shared<nn::LinearDenseHead>(shape.embed_dim, kOutputs);
  nn::DensePredictor model(encoder, head);
  nn::initialise(*head, 5);
  const at::Tensor images = normal_values({4, 1, 8, 8});
  const nn::Conditions seen = testing::conditions_for(4, 2);

  const at::Tensor tokens = testing::encode(*encoder, images, seen, nn::Encoder::tokens).tokens;
  const at::Tensor patches = tokens.narrow(1, 1 + 2 + 2, 4),
                   weight = head->parameters()[0].view({kOutputs, -1});
  const at::Tensor of_places =
      (at::matmul(patches, weight.t()) + head->parameters()[1]).transpose(1, 2).reshape({4, kOutputs, 2, 2});
  const at::Tensor expected = at::upsample_bilinear2d(of_places, {8, 8}, false);

  EXPECT_LE(relative_difference(model.forward(images, seen), expected), 1e-5);
}

// Tokens of a ChannelViT are those of channel and place: the map is their mean over channels.
TEST(DensePredictor, AveragesOverTheChannelsOfAChannelVit) {
  nn::VitShape shape = testing::small_shape();
  shape.family = nn::Family::channelvit;
  shape.channels = 3;
  const auto encoder = testing::small_model(shape, /*gain=*/3.0);
  const at::Tensor images = normal_values({2, 3, 8, 8});
  const auto output = testing::encode(*encoder, images, testing::conditions_for(2, 0),
                                      nn::Encoder::tokens | nn::Encoder::maps);
  const at::Tensor patches = output.tokens.narrow(1, 1, 12).view({2, 3, 4, 24}).mean(1);
  EXPECT_LE(relative_difference(output.maps.front().values.flatten(2).transpose(1, 2), patches), 1e-6);
}

TEST(DensePredictor, HasUnitsAndNamesOfBoth) {
  const auto encoder = testing::small_model(testing::small_shape());
  const nn::DensePredictor model(encoder,
                                 std::make_shared<nn::MaskTransformer>(nn::MaskTransformerShape{
                                     .inputs = 24, .outputs = kOutputs, .width = 8, .depth = 2, .heads = 2}));
  EXPECT_EQ(model.unit_count(), 2U + 3U);
  EXPECT_EQ(model.layer_of("head.blocks.1.norm1.weight"), model.last_layer());
  EXPECT_EQ(model.layer_of("head.cls_emb"), model.last_layer());
  EXPECT_EQ(model.layer_of("backbone.blocks.0.norm1.weight"), 1);
  for (const std::string& name : parameter_names(model))
    EXPECT_TRUE(name.starts_with("backbone.") || name.starts_with("head.")) << name;
}

TEST(MaskTransformer, StartsAsPublished) {
  nn::MaskTransformer head({.inputs = 24, .outputs = kOutputs, .width = 64, .depth = 1, .heads = 2});
  nn::initialise(head, 1);
  const auto parameters = head.named_parameters();
  EXPECT_NEAR(parameters["proj_patch"].std().item<double>(), 1.0 / 8, 0.01);
  EXPECT_NEAR(parameters["proj_classes"].std().item<double>(), 1.0 / 8, 0.01);
  EXPECT_NEAR(parameters["proj_dec.weight"].std().item<double>(), 0.02, 0.002);
  EXPECT_FALSE(parameters.contains("blocks.0.attn.qkv.bias"));
}

// A cosine is scaled by nothing: the length of what comes in changes neither order nor bound of its logits.
TEST(MaskTransformer, ItsLogitsAreNormalisedOverClasses) {
  nn::MaskTransformer head({.inputs = 6, .outputs = kOutputs, .width = 8, .depth = 1, .heads = 2});
  nn::initialise(head, 1);
  const at::Tensor logits = head.forward(maps_of({{2, 6, 3, 5}}), {}, nn::run_plainly);
  EXPECT_EQ(logits.sizes(), (at::IntArrayRef{2, kOutputs, 3, 5}));
  EXPECT_LE(logits.mean(1).abs().max().item<double>(), 1e-5);
  EXPECT_LE(logits.abs().max().item<double>(), std::sqrt(kOutputs - 1.0) + 1e-5);
  const nn::MaskTransformerShape of_one{.inputs = 6, .outputs = 1, .width = 8, .depth = 1, .heads = 2};
  EXPECT_THROW(nn::MaskTransformer{of_one}, Bug);
}

at::Tensor parameter_of(const torch::nn::Module& head, const std::string& name) {
  return head.named_parameters()[name];
}

at::Tensor convolved(const torch::nn::Module& head, const std::string& name, const at::Tensor& x) {
  const at::Tensor weight = parameter_of(head, name + ".weight");
  return at::conv2d(x, weight, parameter_of(head, name + ".bias"), 1, weight.size(2) / 2);
}

// The formula of the header, level by level.
TEST(FeaturePyramid, AddsLevelsFromCoarseToFine) {
  nn::FeaturePyramidHead head({.inputs = {2, 3, 5}, .width = 4, .outputs = kOutputs});
  nn::initialise(head, 1);
  const nn::DenseInput input = maps_of({{2, 2, 8, 6}, {2, 3, 4, 3}, {2, 5, 2, 2}});
  const auto map = [&](std::size_t level) { return input.features.maps[level].values; };
  const at::Tensor p2 = convolved(head, "lateral.2", map(2)),
                   p1 = convolved(head, "lateral.1", map(1)) + at::upsample_nearest2d(p2, {4, 3}),
                   p0 = convolved(head, "lateral.0", map(0)) + at::upsample_nearest2d(p1, {8, 6});
  at::Tensor sum = at::relu(convolved(head, "output.0", p0));
  sum = sum + at::upsample_bilinear2d(at::relu(convolved(head, "output.1", p1)), {8, 6}, false);
  sum = sum + at::upsample_bilinear2d(at::relu(convolved(head, "output.2", p2)), {8, 6}, false);
  EXPECT_LE(relative_difference(head.forward(input, {}, nn::run_plainly), convolved(head, "classifier", sum)),
            1e-5);
}

TEST(FeaturePyramid, OneMapBecomesFourLevels) {
  nn::FeaturePyramidHead head({.inputs = {6}, .width = 4, .outputs = kOutputs});
  nn::initialise(head, 1);
  const at::Tensor values = head.forward(maps_of({{2, 6, 3, 5}}), {}, nn::run_plainly);
  EXPECT_EQ(values.sizes(), (at::IntArrayRef{2, kOutputs, 12, 20}));
  values.sum().backward();
  for (const auto& parameter : head.named_parameters())
    EXPECT_TRUE(parameter.value().grad().defined()) << parameter.key();
  EXPECT_NO_THROW(head.forward(maps_of({{1, 6, 1, 1}}), {}, nn::run_plainly)) << "a single place";
}

TEST(Unet, HasTheWidthsOfLovt) {
  nn::EncoderTraits resnet50;
  resnet50.map_widths = {256, 512, 1024, 2048};
  resnet50.stem_width = 64;
  const nn::UnetShape shape = nn::unet_shape(resnet50, 3, 1);
  EXPECT_EQ(shape.bridge, 2048);
  EXPECT_EQ(shape.steps, (std::vector<std::int64_t>{1024, 512, 256, 128, 64}));
  EXPECT_EQ(shape.skips, (std::vector<std::int64_t>{1024, 512, 256, 64, 3}));
}

// The images of a group come out as if they were alone, wherever they stand in the batch.
TEST(Unet, NormalisesEachGroupByItself) {
  const auto encoder = std::make_shared<nn::ResNet>(small_resnet(), /*seed=*/1);
  const auto head = std::make_shared<nn::UnetHead>(nn::unet_shape(encoder->traits(), 1, kOutputs));
  nn::DensePredictor model(encoder, head);
  nn::initialise(model, 2);
  const at::Tensor images = normal_values({5, 1, 32, 64});
  nn::Conditions seen;
  seen.training = true;
  seen.group = at::tensor({7, 9, 7, 9, 7}, at::kLong);
  const at::Tensor mixed = model.forward(images, seen);
  EXPECT_EQ(mixed.sizes(), (at::IntArrayRef{5, kOutputs, 32, 64}));
  for (const at::Tensor& rows : {at::tensor({0, 2, 4}, at::kLong), at::tensor({1, 3}, at::kLong)}) {
    seen.group = at::zeros({rows.size(0)}, at::kLong);
    const at::Tensor alone = model.forward(images.index_select(0, rows), seen);
    EXPECT_LE(relative_difference(mixed.index_select(0, rows), alone), 1e-4);
  }
}

// A stem that pools nothing has no map between the image and the first stage.
TEST(ResNet, HasAStemToJoinWhereItPools) {
  nn::ResNetShape shape = small_resnet();
  const at::Tensor images = normal_values({2, 1, 32, 32});
  nn::ResNet pooling(shape, 1);
  EXPECT_EQ(pooling.traits().stem_width, 4);
  EXPECT_EQ(pooling.traits().map_widths, (std::vector<std::int64_t>{4, 8, 16, 32}));
  const at::Tensor stem = pooling.encode(images, {}, nn::Encoder::maps | nn::Encoder::stem).stem;
  EXPECT_EQ(stem.sizes(), (at::IntArrayRef{2, 4, 16, 16}));
  EXPECT_GE(stem.min().item<double>(), 0.0) << "behind the ReLU";
  EXPECT_FALSE(pooling.encode(images, {}, nn::Encoder::maps).stem.defined());
  shape.stem = nn::Stem::small;
  nn::ResNet small(shape, 1);
  EXPECT_EQ(small.traits().stem_width, 0);
  EXPECT_FALSE(small.encode(images, {}, nn::Encoder::maps | nn::Encoder::stem).stem.defined());
}

}  // namespace
}  // namespace cohort
