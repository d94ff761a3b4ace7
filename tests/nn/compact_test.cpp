// Compact transformers: CCT and CVT (nn/cct.h), cSiT's encoder (nn/csit.h). golden_check holds them against
// published numbers.
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/nn/cct.h"
#include "cohort/nn/csit.h"
#include "cohort/nn/encoders.h"

namespace cohort {
namespace {

using nn::Cct;
using nn::CctShape;
using nn::Csit;
using nn::CsitShape;
using nn::Encoder;

at::Tensor waves(at::IntArrayRef sizes) {
  std::int64_t count = 1;
  for (const std::int64_t size : sizes) count *= size;
  return at::sin(at::arange(count) * 0.37).view(sizes);
}

CctShape small_cct() {
  return {.channels = 2,
          .height = 16,
          .width = 24,
          .kernel = 3,
          .convolutions = 1,
          .planes = 6,
          .embed_dim = 16,
          .depth = 2,
          .heads = 2,
          .hidden = 32,
          .classes = 3};
}

CsitShape small_csit() {
  return {.channels = 2,
          .height = 32,
          .width = 48,
          .planes = 4,
          .embed_dim = 12,
          .depth = 2,
          .heads = 2,
          .classes = 3};
}

/// First values are so small that attention hardly shows.
void enlarge(Cct& model) {
  const at::NoGradGuard no_grad;
  for (at::Tensor& each : model.parameters()) each.mul_(8.0);
}

/// Four images of two groups, whose contexts differ.
nn::Conditions two_groups() {
  nn::Conditions conditions;
  conditions.group = at::tensor(std::vector<std::int64_t>{0, 0, 1, 1});
  conditions.context = conditions.group.unsqueeze(1);
  conditions.sample = at::arange(4);
  conditions.seed = 3;
  return conditions;
}

template <class Shape>
Shape with_context(Shape shape, nn::Amortization amortization) {
  shape.context.keys = {"site"};
  shape.context.amortization = amortization;
  shape.vocabulary = {2};
  return shape;
}

/// How much other images of its own group, and of the other one, change what is said of the first image.
template <class Model>
void expect_contexts_of_groups(Model&& model, std::int64_t own_tokens, at::IntArrayRef sizes) {
  const at::Tensor images = waves(sizes), neighbour = images.clone(), stranger = images.clone();
  neighbour[1].mul_(-2.0);
  stranger[2].mul_(-2.0);
  const auto encode = [&](const at::Tensor& of) {
    return model.encode(of, two_groups(), Encoder::tokens | Encoder::logits | Encoder::maps);
  };
  const Encoder::Output before = encode(images);
  EXPECT_EQ(model.traits().other_tokens, own_tokens + 1);
  EXPECT_EQ(before.context.sizes(), at::IntArrayRef({4, 1, model.traits().width}));
  EXPECT_EQ(before.tokens.size(1), own_tokens + 1 + model.token_count(sizes[1], sizes[2], sizes[3]));
  EXPECT_FALSE(at::allclose(encode(neighbour).logits[0], before.logits[0]));
  EXPECT_TRUE(at::equal(encode(stranger).logits[0], before.logits[0]));
}

TEST(Cct, ContextsAreThoseOfTheGroup) {
  for (const auto how : {nn::Amortization::mean_linear, nn::Amortization::mean_layer})
    expect_contexts_of_groups(Cct(with_context(small_cct(), how), 1), 0, {4, 2, 16, 24});
}

TEST(Csit, ContextsAreThoseOfTheGroup) {
  for (const auto how : {nn::Amortization::mean_linear, nn::Amortization::mean_layer})
    expect_contexts_of_groups(Csit(with_context(small_csit(), how), 1), 2, {4, 2, 32, 48});
}

// A network of a block infers its contexts anew: the last ones serve nothing.
TEST(Cct, LayerwiseContextsWorkBehindAllBlocksButTheLast) {
  Cct model(with_context(small_cct(), nn::Amortization::mean_linear_layer), 1);
  model.encode(waves({4, 2, 16, 24}), two_groups(), Encoder::logits).logits.square().sum().backward();
  const auto parameters = model.named_parameters();
  EXPECT_TRUE(parameters["cin_blocks.0.model.site.1.weight"].grad().defined());
  EXPECT_FALSE(parameters["cin_blocks.1.model.site.1.weight"].grad().defined());
}

TEST(Cct, TokensHavePlacesInTheMap) {
  Cct model(small_cct(), 1);
  const Encoder::Output output = model.encode(waves({2, 2, 16, 24}), {}, Encoder::tokens | Encoder::maps);
  ASSERT_EQ(output.maps.size(), 1U);
  EXPECT_EQ(output.maps[0].stride, 2);
  EXPECT_EQ(output.maps[0].values.sizes(), at::IntArrayRef({2, 16, 8, 12}));
  EXPECT_TRUE(at::equal(output.maps[0].values[1].select(1, 3).select(1, 5), output.tokens[1][3 * 12 + 5]));
  EXPECT_FALSE(output.pooled.defined());
}

TEST(Cct, AnotherSizeHasItsOwnPositions) {
  for (const auto positions : {nn::CctPositions::learned, nn::CctPositions::sinusoidal}) {
    CctShape shape = small_cct();
    shape.positions = positions;
    Cct model(shape, 1);
    EXPECT_EQ(model.encode(waves({1, 2, 20, 16}), {}, Encoder::tokens).tokens.sizes(),
              at::IntArrayRef({1, 80, 16}));
  }
}

// Published by name, and as sizes of Table 1 of arXiv 2104.05704.
TEST(Cct, SizesAreThePublishedOnes) {
  const auto parameters_of = [](const std::string& name, std::int64_t side, std::int64_t classes) {
    CctShape shape = *nn::cct_shape(name);
    shape.height = shape.width = side;
    shape.classes = classes;
    const Cct model(shape);
    double millions = 0;
    for (const at::Tensor& each : model.parameters()) millions += static_cast<double>(each.numel()) / 1e6;
    return millions;
  };
  EXPECT_NEAR(parameters_of("cct_7_3x1", 32, 10), 3.76, 0.005);
  EXPECT_NEAR(parameters_of("cct_14_7x2", 224, 1000), 22.36, 0.01);
  EXPECT_FALSE(nn::cct_shape("cct_7").has_value());
  CctShape patches = *nn::cct_shape("cvt_7_4");
  patches.height = patches.width = 32;
  EXPECT_EQ(Cct(patches).token_count(3, 32, 32), 64);
}

TEST(Cct, AttentionIsDroppedInTrainingAlone) {
  CctShape shape = small_cct();
  shape.attention_dropout = 0.5;
  Cct model(shape, 1), without(small_cct(), 1);
  enlarge(model);
  enlarge(without);
  const at::Tensor images = waves({4, 2, 16, 24});
  nn::Conditions conditions = two_groups();
  const auto logits_of = [&](Cct& of) { return of.encode(images, conditions, Encoder::logits).logits; };
  EXPECT_TRUE(at::equal(logits_of(model), logits_of(without)));
  conditions.training = true;
  const at::Tensor dropped = logits_of(model), kept = logits_of(without);
  EXPECT_FALSE(at::allclose(dropped, kept, 1e-3, 1e-4));
  ++conditions.step;
  EXPECT_FALSE(at::allclose(logits_of(model), dropped, 1e-3, 1e-4));
}

// Numbers belong to an image wherever it stands in a batch.
TEST(Cct, AttentionIsDroppedByImage) {
  CctShape shape = small_cct();
  shape.attention_dropout = 0.5;
  shape.drop_path = 0.5;
  Cct model(shape, 1);
  enlarge(model);
  const at::Tensor images = waves({4, 2, 16, 24}), order = at::tensor(std::vector<std::int64_t>{2, 0, 3, 1});
  nn::Conditions straight, mixed;
  straight.training = mixed.training = true;
  straight.sample = at::arange(4);
  mixed.sample = order;
  const auto logits_of = [&](const at::Tensor& of, const nn::Conditions& conditions) {
    return model.encode(of, conditions, Encoder::logits).logits;
  };
  const at::Tensor moved = images.index_select(0, order),
                   wanted = logits_of(images, straight).index_select(0, order);
  EXPECT_TRUE(at::allclose(logits_of(moved, mixed), wanted, 1e-4, 1e-4));
  EXPECT_FALSE(at::allclose(logits_of(moved, straight), wanted, 1e-2, 1e-2));
}

TEST(Cct, LayersCountBlocks) {
  const Cct model(with_context(small_cct(), nn::Amortization::mean_linear_layer));
  EXPECT_EQ(model.layer_of("tokenizer.conv_layers.0.0.weight"), 0);
  EXPECT_EQ(model.layer_of("classifier.positional_emb"), 0);
  EXPECT_EQ(model.layer_of("cin.model.site.1.weight"), 0);
  EXPECT_EQ(model.layer_of("classifier.blocks.1.norm1.weight"), 2);
  EXPECT_EQ(model.layer_of("cin_blocks.0.model.site.1.bias"), 1);
  EXPECT_EQ(model.layer_of("classifier.attention_pool.weight"), 3);
  EXPECT_EQ(model.layer_of("classifier.fc.bias"), 3);
}

TEST(Csit, LayersCountBlocks) {
  const Csit model(small_csit());
  EXPECT_EQ(model.layer_of("rot_token"), 0);
  EXPECT_EQ(model.layer_of("pos_embed"), 0);
  EXPECT_EQ(model.layer_of("patch_embed.conv_layers.1.0.weight"), 0);
  EXPECT_EQ(model.layer_of("blocks.0.attn.qkv.weight"), 1);
  EXPECT_EQ(model.layer_of("norm.weight"), 3);
  EXPECT_EQ(model.layer_of("contrastive_head.weight"), 3);
}

// Its paper counts 5.85 million with two heads of nine classes.
TEST(Csit, SizeIsThePublishedOne) {
  CsitShape shape = *nn::csit_shape("csit_14_7x2_p16");
  shape.height = shape.width = 224;
  shape.classes = 9;
  const Csit model(shape);
  std::int64_t count = 0;
  for (const at::Tensor& each : model.parameters()) count += each.numel();
  EXPECT_NEAR(static_cast<double>(count), 5.85e6, 5e3);
  EXPECT_EQ(model.token_count(3, 224, 224), 196);
  shape.is_fine = true;
  EXPECT_EQ(Csit(shape).token_count(3, 224, 224), 784);
}

TEST(Csit, LogitsAreTheMeanOfTwoHeads) {
  Csit model(small_csit(), 1);
  auto parameters = model.named_parameters();
  {
    const at::NoGradGuard no_grad;
    parameters["rot_head.bias"].fill_(1.0);
    parameters["contrastive_head.bias"].fill_(3.0);
  }
  const Encoder::Output output =
      model.encode(waves({2, 2, 32, 48}), {}, Encoder::logits | Encoder::pooled | Encoder::tokens);
  const auto answer = [&](const std::string& head, std::int64_t token) {
    return at::linear(output.tokens.select(1, token), parameters[head + ".weight"],
                      parameters[head + ".bias"]);
  };
  EXPECT_TRUE(at::allclose(output.logits, (answer("rot_head", 0) + answer("contrastive_head", 1)) / 2));
  EXPECT_TRUE(at::allclose(output.pooled, (output.tokens.select(1, 0) + output.tokens.select(1, 1)) / 2));
}

TEST(Compact, SizesThatDoNotGoTogetherAreRefused) {
  const auto check = [](nn::ModelConfig config, std::int64_t side) {
    nn::check_encoder(config, {.channels = 3, .height = side, .width = side});
  };
  EXPECT_THROW(check({.name = "cct_14_7x2"}, 12), UsageError);
  EXPECT_THROW(check({.name = "cct_14_7x2", .heads = 5}, 32), UsageError);
  EXPECT_THROW(check({.name = "csit_14_7x2_p16", .width = 100}, 32), UsageError);
  EXPECT_THROW(check({.name = "cct_7_3x1", .csit = {.pooling = nn::CsitPooling::sequence}}, 32), UsageError);
  EXPECT_NO_THROW(check({.name = "cct_14_7x2"}, 16));
}

}  // namespace
}  // namespace cohort
