// First values of a vision transformer.
#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/nn/vit.h"

#include "../support/small_model.h"

namespace cohort {
namespace {

using nn::Amortization;
using testing::small_shape;

TEST(Initialisation, DependsOnSeedAndNameAlone) {
  nn::VitShape shape = small_shape({"plate"}, Amortization::dictionary, {4});
  const nn::VisionTransformer one(shape, 5), same(shape, 5), other(shape, 6);
  shape.depth = 1;
  const nn::VisionTransformer shallow(shape, 5);
  const auto first = one.named_parameters(), second = same.named_parameters(),
             third = other.named_parameters();
  for (const auto& parameter : first)
    EXPECT_TRUE(at::equal(parameter.value(), second[parameter.key()])) << parameter.key();
  EXPECT_FALSE(at::equal(first["pos_embed"], third["pos_embed"]));
  EXPECT_TRUE(
      at::equal(first["blocks.0.mlp.fc1.weight"], shallow.named_parameters()["blocks.0.mlp.fc1.weight"]));
  EXPECT_FALSE(at::equal(first["blocks.0.mlp.fc1.weight"], first["blocks.1.mlp.fc1.weight"]));
}

void expect_normal(const at::Tensor& values, double deviation) {
  const double count = static_cast<double>(values.numel());
  EXPECT_NEAR(values.mean().item<double>(), 0.0, 4.0 * deviation / std::sqrt(count));
  EXPECT_NEAR(values.std().item<double>(), deviation, 4.0 * deviation / std::sqrt(2.0 * count));
  const double outside = values.abs().gt(1.96 * deviation).to(at::kDouble).mean().item<double>();
  EXPECT_NEAR(outside, 0.05, 4.0 * std::sqrt(0.05 * 0.95 / count));
}

TEST(Initialisation, FollowsTheStatedDistributions) {
  nn::VitShape shape = small_shape({"plate"}, Amortization::dictionary, {50});
  shape.embed_dim = 96;
  shape.classes = 20;
  const nn::VisionTransformer model(shape, 5);
  const auto parameters = model.named_parameters();
  for (const char* name :
       {"cin.model.plate.weight", "blocks.0.attn.qkv.weight", "blocks.2.mlp.fc2.weight", "head.weight"}) {
    expect_normal(parameters[name], 0.02);
  }
  EXPECT_EQ(parameters["blocks.1.mlp.fc1.bias"].abs().max().item<double>(), 0.0);
  EXPECT_EQ(parameters["head.bias"].abs().max().item<double>(), 0.0);
  EXPECT_TRUE(parameters["blocks.1.norm2.weight"].eq(1.0).all().item<bool>());
  EXPECT_TRUE(parameters["norm.bias"].eq(0.0).all().item<bool>());
  const at::Tensor convolution = parameters["patch_embed.proj.weight"];  // [96, 1, 4, 4]: fan-in 16
  EXPECT_LE(convolution.abs().max().item<double>(), 0.25);
  EXPECT_NEAR(convolution.std().item<double>(), 0.25 / std::sqrt(3.0), 0.01);
  EXPECT_GT(parameters["patch_embed.proj.bias"].abs().max().item<double>(), 0.1);
}

}  // namespace
}  // namespace cohort
