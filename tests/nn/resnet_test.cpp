#include "cohort/nn/resnet.h"

#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "../support/golden.h"

namespace cohort {
namespace {

using nn::ResNet;
using nn::ResNetShape;
using testing::Golden;
using testing::relative_difference;

ResNetShape shape_of(const Golden& golden) {
  const auto& config = golden.description().at("config");
  ResNetShape shape;
  shape.bottleneck = config.at("block") == "bottleneck";
  shape.depths = config.at("layers").get<std::array<std::int64_t, 4>>();
  shape.width = config.at("base_width");
  shape.classes = config.at("classes");
  return shape;
}

/// tests/golden/<name>: torchvision's numbers, in fp64 rounded once.
class GoldenResNet : public ::testing::TestWithParam<std::string> {
 protected:
  static constexpr double kOutputs = 2e-5, kGradients = 5e-4;

  GoldenResNet() : golden_(GetParam()), model_(shape_of(golden_), /*seed=*/1) {
    const at::NoGradGuard no_grad;
    auto parameters = model_.named_parameters();
    EXPECT_EQ(parameters.size(), golden_.names("param.").size());
    for (const std::string& name : golden_.names("param.")) parameters[name].copy_(golden_["param." + name]);
    auto buffers = model_.named_buffers();
    for (const std::string& name : golden_.names("buffer.")) {
      if (at::Tensor* buffer = buffers.find(name)) buffer->copy_(golden_["buffer." + name]);
    }
  }

  void check(const std::string& mode, bool training) {
    const at::Tensor images = golden_["in.images"].clone().requires_grad_();
    nn::Conditions conditions;
    conditions.training = training;
    const auto output = model_.encode(images, conditions, nn::Encoder::maps | nn::Encoder::logits);
    const at::Tensor loss = at::cross_entropy_loss(output.logits, golden_["in.labels"]);
    loss.backward();
    for (std::size_t s = 0; s < 4; ++s) {
      const std::string name = "out_" + mode + ".layer" + std::to_string(s + 1);
      EXPECT_LE(relative_difference(output.maps[s].values, golden_[name]), kOutputs) << name;
    }
    EXPECT_LE(relative_difference(output.logits, golden_["out_" + mode + ".logits"]), kOutputs);
    EXPECT_LE(relative_difference(loss.reshape({1}), golden_["out_" + mode + ".loss"]), kOutputs);
    check_gradients("grad_" + mode + ".");
  }

  void check_gradients(const std::string& prefix) {
    double largest = 0.0;
    for (const std::string& name : golden_.names(prefix))
      largest = std::max(largest, golden_[prefix + name].abs().max().item<double>());
    for (const auto& item : model_.named_parameters()) {
      const at::Tensor& wanted = golden_[prefix + item.key()];
      const double bound = kGradients * wanted.abs().max().item<double>() + 1e-7 * largest;
      EXPECT_LE((item.value().grad() - wanted).abs().max().item<double>(), bound) << item.key();
    }
  }

  Golden golden_;
  ResNet model_;
};

TEST_P(GoldenResNet, EvaluationIsThatOfTorchvision) {
  check("eval", false);
}

TEST_P(GoldenResNet, TrainingAndRunningStatisticsAreThoseOfTorchvision) {
  check("train", true);
  for (const auto& module : model_.modules(/*include_self=*/false)) {
    if (auto* norm = dynamic_cast<nn::BatchNorm*>(module.get())) norm->finish_step();
  }
  const auto buffers = model_.named_buffers();
  for (const std::string& name : golden_.names("after."))
    EXPECT_LE(relative_difference(buffers[name], golden_["after." + name]), kOutputs) << name;
}

INSTANTIATE_TEST_SUITE_P(Variants, GoldenResNet, ::testing::Values("resnet18_mini", "resnet50_mini"));

TEST(ResNet, ImagesOfOneGroupNeedNotBeNeighbours) {
  const ResNetShape shape{
      .channels = 1, .bottleneck = false, .depths = {1, 1, 1, 1}, .width = 4, .classes = 3};
  ResNet model(shape, 5);
  const at::Tensor images = at::sin(at::arange(6 * 32 * 32) * 0.37).view({6, 1, 32, 32}),
                   order = at::tensor(std::vector<std::int64_t>{3, 0, 4, 1, 5, 2});
  nn::Conditions together, mixed;
  together.training = mixed.training = true;
  together.group = at::tensor(std::vector<std::int64_t>{7, 7, 7, 9, 9, 9});
  mixed.group = together.group.index_select(0, order);

  const at::Tensor straight = model.encode(images, together, nn::Encoder::logits).logits,
                   other = model.encode(images.index_select(0, order), mixed, nn::Encoder::logits).logits;

  EXPECT_TRUE(at::equal(other, straight.index_select(0, order)));
}

TEST(ResNet, LayersCountBlocksOverAllStages) {
  const auto shape = nn::resnet_shape("resnet50");
  ASSERT_TRUE(shape.has_value());
  const ResNet model(*shape);
  EXPECT_EQ(model.unit_count(), 16U);
  EXPECT_EQ(model.traits().width, 2048);
  EXPECT_EQ(model.layer_of("conv1.weight"), 0);
  EXPECT_EQ(model.layer_of("layer1.0.bn1.weight"), 1);
  EXPECT_EQ(model.layer_of("layer3.2.downsample.0.weight"), 3 + 4 + 2 + 1);
  EXPECT_EQ(model.layer_of("layer4.2.conv3.weight"), 16);
  EXPECT_FALSE(nn::resnet_shape("resnet51").has_value());
}

TEST(ResNet, ASmallStemKeepsAllPixels) {
  ResNetShape shape{.channels = 1, .bottleneck = false, .depths = {1, 1, 1, 1}, .width = 4};
  const at::Tensor images = at::sin(at::arange(2 * 16 * 16) * 0.37).view({2, 1, 16, 16});
  for (const auto& [stem, stride] : {std::pair(nn::Stem::imagenet, 4), std::pair(nn::Stem::small, 1)}) {
    shape.stem = stem;
    const auto maps = ResNet(shape, 5).encode(images, {}, nn::Encoder::maps).maps;
    ASSERT_EQ(maps.size(), 4U);
    EXPECT_EQ(maps[0].stride, stride);
    EXPECT_EQ(maps[0].values.sizes(), at::IntArrayRef({2, 4, 16 / stride, 16 / stride}));
    EXPECT_EQ(maps[3].stride, 8 * stride);
  }
}

}  // namespace
}  // namespace cohort
