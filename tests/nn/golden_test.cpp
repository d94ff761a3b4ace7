// Parity with the published implementations: features, loss, every gradient and the tokens between the
// blocks, against numbers computed by them in fp64. Bound 1e-5 relative to the largest entry of a tensor;
// their own fp32 run stays within 2e-6.
#include "../support/golden.h"

#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/nn/dropout.h"
#include "cohort/nn/position.h"
#include "cohort/nn/vit.h"

#include "../support/small_model.h"
#include "nn/patch_embedding.h"

namespace cohort {
namespace {

using testing::Golden;
using testing::relative_difference;

constexpr double kBound = 1e-5;
const std::string kKey = "hospital_id";

nn::Amortization amortization_named(const std::string& name) {
  for (const auto& entry : enum_names(nn::Amortization{})) {
    if (entry.name == name) return entry.value;
  }
  throw std::runtime_error("no amortization " + name);
}

nn::VitShape shape_of(const Golden& golden) {
  const auto& about = golden.description();
  nn::VitShape shape{};
  shape.channels = about.value("in_chans", 3);
  shape.height = shape.width = about.at("img_size");
  shape.patch_size = about.at("patch_size");
  shape.embed_dim = about.at("embed_dim");
  shape.depth = about.at("depth");
  shape.heads = about.at("num_heads");
  shape.mlp_ratio = about.at("mlp_ratio");
  shape.classes = about.value("num_classes", 0);
  shape.registers = about.value("reg_tokens", 0);
  shape.layer_scale = about.value("layer_scale", false) ? 1.0 : 0.0;
  if (about.contains("channels")) shape.family = nn::Family::channelvit;
  if (about.contains("amortization")) {
    shape.context.keys = {kKey};
    shape.context.amortization = amortization_named(about.at("amortization"));
    shape.vocabulary = {about.value("context_values", 4)};
  }
  return shape;
}

// ChannelViT's table of channels is [1, D, C, 1, 1] in the files, an embedding [C, D] in ours.
at::Tensor ours(const at::Tensor& values) {
  return values.dim() == 5 && values.size(4) == 1 && values.size(0) == 1 ? values.flatten(2)[0].t() : values;
}

std::string our_name(const std::string& name) {
  return name == "patch_embed.channel_embed" ? name + ".weight" : name;
}

void load(nn::VisionTransformer& model, const Golden& golden) {
  const c10::NoGradGuard no_grad;
  auto parameters = model.named_parameters();
  ASSERT_EQ(parameters.size(), golden.names("param.").size());
  for (const std::string& stored : golden.names("param.")) {
    const std::string name = our_name(stored);
    const at::Tensor values = ours(golden["param." + stored]);
    ASSERT_TRUE(parameters.contains(name)) << name;
    ASSERT_EQ(parameters[name].sizes(), values.sizes()) << name;
    parameters[name].copy_(values);
  }
}

// Keeps what went into the first unit and what came out of each.
class Recorder final : public nn::UnitRunner {
 public:
  nn::Tensors run(std::size_t unit, const nn::Tensors& inputs, const Body& body) override {
    if (unit == 0) first_input = inputs.front().detach();
    outputs.push_back(body(inputs).front());
    return {outputs.back()};
  }
  at::Tensor first_input;
  std::vector<at::Tensor> outputs;
};

class GoldenModel : public ::testing::TestWithParam<std::string> {
 protected:
  GoldenModel() : golden_(GetParam()), model_(shape_of(golden_), /*seed=*/1) {
    load(model_, golden_);
    model_.use(recorder_);
    images_ = golden_["in.images"].clone().requires_grad_();
    if (!model_.shape().context.keys.empty()) {
      conditions_.context = golden_["in.context"].unsqueeze(1);
      conditions_.group = golden_["in.context"];
    }
    if (golden_.has("in.channels")) conditions_.channels = golden_["in.channels"][0].to(at::kLong);
    output_ = testing::encode(model_, images_, conditions_);
  }

  void expect_close(const std::string& name, const at::Tensor& actual, const at::Tensor& expected) {
    const double difference = relative_difference(actual, expected);
    EXPECT_LE(difference, kBound) << name;
    if (difference >= largest_) {
      largest_ = difference;
      largest_name_ = name;
    }
  }

  // The context token of a layerwise model is replaced inside our unit, and after the last block not at all,
  // where the reference replaces it after the hook that recorded it: that one row of tokens is left out.
  at::Tensor comparable(const at::Tensor& tokens) const {
    if (!is_layerwise(model_.shape().context.amortization)) return tokens;
    return at::cat({tokens.narrow(1, 0, 1), tokens.narrow(1, 2, tokens.size(1) - 2)}, 1);
  }

  void TearDown() override {
    std::printf("[ measured ] %s: largest relative difference %.1e (%s)\n", GetParam().c_str(), largest_,
                largest_name_.c_str());
  }

  Golden golden_;
  nn::VisionTransformer model_;
  Recorder recorder_;
  at::Tensor images_;
  nn::Conditions conditions_;
  nn::VisionTransformer::Output output_;
  double largest_ = 0.0;
  std::string largest_name_;
};

TEST_P(GoldenModel, TokensBetweenTheLayers) {
  if (golden_.has("tok.patch_embed")) {
    const auto modules = model_.named_modules("", /*include_self=*/false);
    auto* embedding = modules["patch_embed"]->as<nn::PatchEmbedding>();
    const at::Tensor patches = embedding->forward(images_, conditions_.channels);
    expect_close("patch_embed", patches, golden_["tok.patch_embed"]);
  }
  const std::string first = golden_.has("tok.pos_drop") ? "tok.pos_drop" : "tok.norm_pre";
  expect_close(first, recorder_.first_input, golden_[first]);
  for (std::size_t l = 0; l < recorder_.outputs.size(); ++l) {
    const std::string name = "tok.blocks." + std::to_string(l);
    if (golden_.has(name)) expect_close(name, comparable(recorder_.outputs[l]), comparable(golden_[name]));
  }
  expect_close("norm", comparable(output_.tokens), comparable(golden_["tok.norm"]));
}

TEST_P(GoldenModel, FeaturesLossAndAllGradients) {
  const at::Tensor out = output_.logits.defined() ? output_.logits : output_.pooled;
  const at::Tensor loss = (out * out * golden_["in.loss_weight"]).sum();
  loss.backward();

  expect_close("cls", out, golden_["out.cls"]);
  expect_close("loss", loss.view(1), golden_["out.loss"]);
  expect_close("images", images_.grad(), golden_["grad_in.images"]);
  const auto parameters = model_.named_parameters();
  ASSERT_EQ(golden_.names("grad.").size(), parameters.size());
  for (const std::string& name : golden_.names("grad."))
    expect_close(name, parameters[our_name(name)].grad(), ours(golden_["grad." + name]));
}

INSTANTIATE_TEST_SUITE_P(Files, GoldenModel,
                         ::testing::Values("vit", "timm_vit", "contextvit_dictionary", "contextvit_mean",
                                           "contextvit_mean_detach", "contextvit_mean_linear",
                                           "contextvit_mean_linear_48x48", "contextvit_mean_linear_layer",
                                           "timm_vit_registers", "channelvit", "channelvit_one_channel"),
                         [](const auto& test) { return test.param; });

// Masked autoencoders as published for fine-tuning, by the mean of patches and by cls.
class GoldenFineTuning : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenFineTuning, LogitsLossAndAllGradients) {
  const Golden golden(GetParam());
  nn::VitShape shape = shape_of(golden);
  shape.classes = golden.description().at("classes");
  if (golden.description().at("global_pool").get<bool>()) shape.pooling = nn::Pooling::mean;
  nn::VisionTransformer model(shape, /*seed=*/1);
  load(model, golden);
  const at::Tensor images = golden["in.images"].clone().requires_grad_();

  const auto output = model.encode(images, {}, nn::Encoder::pooled | nn::Encoder::logits);
  const at::Tensor loss = at::cross_entropy_loss(output.logits, golden["in.labels"]);
  loss.backward();

  EXPECT_LE(relative_difference(output.pooled, golden["out.feature"]), kBound);
  EXPECT_LE(relative_difference(output.logits, golden["out.logits"]), kBound);
  EXPECT_LE(relative_difference(loss.view(1), golden["out.loss"]), kBound);
  EXPECT_LE(relative_difference(images.grad(), golden["grad_in.images"]), kBound);
  const auto parameters = model.named_parameters();
  ASSERT_EQ(golden.names("grad.").size(), parameters.size());
  for (const std::string& name : golden.names("grad."))
    EXPECT_LE(relative_difference(parameters[name].grad(), golden["grad." + name]), kBound) << name;
}

INSTANTIATE_TEST_SUITE_P(Files, GoldenFineTuning, ::testing::Values("mae_finetune_pool", "mae_finetune_cls"),
                         [](const auto& test) { return test.param; });

TEST(GoldenParts, LayersOfAMaskedAutoencoder) {
  const Golden golden("layer_decay_065");
  const double decay = golden.description().at("layer_decay");
  nn::VitShape shape = testing::small_shape();
  shape.depth = golden.description().at("depth");
  shape.classes = 2;
  shape.pooling = nn::Pooling::mean;
  const nn::VisionTransformer model(shape);
  const auto& expected = golden.description().at("scale_and_decay");
  for (const auto& parameter : model.named_parameters()) {
    const double factor = std::pow(decay, model.last_layer() - model.layer_of(parameter.key()));
    EXPECT_NEAR(factor, expected.at(parameter.key()).at(0).get<double>(), 1e-12) << parameter.key();
  }
}

TEST(GoldenParts, PositionTableOfAnotherImageSize) {
  const Golden golden("contextvit_mean_linear_48x48");
  const at::Tensor table = nn::interpolate_positions(golden["param.pos_embed"], /*prefix=*/2, {4, 4}, {6, 6});
  EXPECT_LE(relative_difference(table, golden["out.pos_embed_interpolated"]), 1e-6);
}

TEST(GoldenParts, DropPath) {
  const Golden golden("drop_path");
  const at::Tensor dropped =
      nn::drop_branch(golden["in.x"], golden.description().at("p"), golden["in.uniform"].flatten());
  EXPECT_LE(relative_difference(dropped, golden["out.y"]), 1e-6);
}

}  // namespace
}  // namespace cohort
