// Pyramid vision transformers (nn/pvtv2.h). golden_check holds them against published numbers.
#include "cohort/nn/pvtv2.h"

#include <cmath>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/nn/encoders.h"

namespace cohort {
namespace {

using nn::PvtShape;
using nn::PvtV2;

PvtShape small_pyramid() {
  return {.channels = 2, .widths = {4, 8, 20, 32}, .depths = {1, 2, 1, 1}, .classes = 3};
}

at::Tensor ripples(std::int64_t images, std::int64_t height, std::int64_t width) {
  return at::sin(at::arange(images * 2 * height * width) * 0.37).view({images, 2, height, width});
}

double millions_of(const std::string& name) {
  PvtShape shape = *nn::pvt_shape(name);
  shape.classes = 1000;
  double millions = 0;
  for (const at::Tensor& each : PvtV2(shape).parameters())
    millions += static_cast<double>(each.numel()) / 1e6;
  return millions;
}

// Table 2 of arXiv 2106.13797, in one decimal.
TEST(PvtV2, SizesAreThePublishedOnes) {
  EXPECT_NEAR(millions_of("pvtv2_b0"), 3.7, 0.05);
  EXPECT_NEAR(millions_of("pvtv2_b1"), 14.0, 0.05);
  EXPECT_NEAR(millions_of("pvtv2_b2"), 25.4, 0.05);
  EXPECT_NEAR(millions_of("pvtv2_b3"), 45.2, 0.05);
  EXPECT_FALSE(nn::pvt_shape("pvtv2_b9").has_value());
}

TEST(PvtV2, MapsHalveFromStageToStageAtAnySize) {
  PvtV2 model(small_pyramid(), 1);
  const auto maps = model.encode(ripples(2, 40, 72), {}, nn::Encoder::maps).maps;
  ASSERT_EQ(maps.size(), 4U);
  EXPECT_EQ(maps[0].values.sizes(), at::IntArrayRef({2, 4, 10, 18}));
  EXPECT_EQ(maps[3].values.sizes(), at::IntArrayRef({2, 32, 2, 3}));
  EXPECT_EQ(maps[0].stride, 4);
  EXPECT_EQ(maps[3].stride, 32);
}

TEST(PvtV2, FeaturesAreTheMeanOfTheLastMap) {
  PvtV2 model(small_pyramid(), 1);
  const auto output = model.encode(ripples(2, 64, 64), {}, nn::Encoder::maps | nn::Encoder::logits);
  EXPECT_TRUE(at::allclose(output.pooled, output.maps[3].values.mean({2, 3})));
  EXPECT_EQ(output.logits.sizes(), at::IntArrayRef({2, 3}));
  EXPECT_FALSE(output.tokens.defined());
}

// Numbers belong to an image wherever it stands in a batch, and to one branch of one block.
TEST(PvtV2, BranchesAreDroppedByImage) {
  PvtShape shape = small_pyramid();
  shape.drop_path = 0.5;
  PvtV2 model(shape, 1);
  const at::Tensor images = ripples(4, 32, 32), order = at::tensor(std::vector<std::int64_t>{2, 0, 3, 1});
  nn::Conditions straight, mixed;
  straight.training = mixed.training = true;
  straight.sample = at::arange(4);
  mixed.sample = order;
  const at::Tensor logits = model.encode(images, straight, nn::Encoder::logits).logits;
  EXPECT_TRUE(at::allclose(model.encode(images.index_select(0, order), mixed, nn::Encoder::logits).logits,
                           logits.index_select(0, order), 1e-5, 1e-6));
  EXPECT_FALSE(at::allclose(model.encode(images, {}, nn::Encoder::logits).logits, logits, 1e-3, 1e-4));
}

TEST(PvtV2, LayersCountBlocksOverAllStages) {
  const PvtV2 model(small_pyramid());
  EXPECT_EQ(model.unit_count(), 5U);
  EXPECT_EQ(model.layer_of("patch_embed1.proj.weight"), 0);
  EXPECT_EQ(model.layer_of("block1.0.attn.sr.weight"), 1);
  EXPECT_EQ(model.layer_of("patch_embed2.norm.bias"), 1);
  EXPECT_EQ(model.layer_of("block2.1.mlp.dwconv.dwconv.weight"), 3);
  EXPECT_EQ(model.layer_of("norm2.weight"), 3);
  EXPECT_EQ(model.layer_of("norm4.weight"), 6);
  EXPECT_EQ(model.layer_of("head.weight"), 6);
}

TEST(PvtV2, OptionsAndImagesThatDoNotFitAreRefused) {
  const auto check = [](const nn::ModelConfig& config, std::int64_t side) {
    nn::check_encoder(config, {.channels = 3, .height = side, .width = 40});
  };
  EXPECT_THROW(check({.name = "pvtv2_b0"}, 31), UsageError);
  EXPECT_THROW(check({.name = "pvtv2_b0", .registers = 2}, 32), UsageError);
  EXPECT_NO_THROW(check({.name = "pvtv2_b0", .width = 8}, 32));
  EXPECT_NO_THROW(check({.name = "vit_tiny", .patch_size = 8, .dropout = 0.1}, 32));
}

// Normal with deviation sqrt(2 / fan_out), groups of channels counted apart; biases 0.
TEST(PvtV2, ConvolutionsBeginAsPublished) {
  PvtShape shape = *nn::pvt_shape("pvtv2_b0");
  const PvtV2 model(shape, 1);
  const auto parameters = model.named_parameters();
  const auto deviation = [&](const std::string& name) { return parameters[name].std().item<double>(); };
  EXPECT_NEAR(deviation("patch_embed2.proj.weight"), std::sqrt(2.0 / (64 * 9)), 1e-3);
  EXPECT_NEAR(deviation("block1.0.mlp.dwconv.dwconv.weight"), std::sqrt(2.0 / 9), 2e-2);
  EXPECT_EQ(parameters["block1.0.attn.sr.bias"].abs().max().item<double>(), 0.0);
}

}  // namespace
}  // namespace cohort
