// Parity of the projection head with the published implementation, in fp64.
#include "cohort/nn/dino_head.h"

#include <algorithm>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/nn/dino_network.h"

#include "../support/golden.h"
#include "../support/small_model.h"

namespace cohort {
namespace {

using testing::Golden;
using testing::relative_difference;

class GoldenHead : public ::testing::TestWithParam<std::string> {
 protected:
  static nn::DinoHeadShape shape(const Golden& golden, const std::string& variant) {
    const auto& about = golden.description();
    const auto& options = about.at("variants").at(variant);
    return {.width = about.at("in_dim"),
            .hidden = about.at("hidden_dim"),
            .bottleneck = about.at("bottleneck_dim"),
            .prototypes = about.at("out_dim"),
            .batch_norm = options.value("use_bn", false),
            .norm_last_layer = options.at("norm_last_layer")};
  }
};

TEST_P(GoldenHead, OutputAndAllGradients) {
  const Golden golden("dino_head");
  nn::DinoHead head(shape(golden, GetParam()));
  head.to(at::kDouble);
  auto parameters = head.named_parameters();
  {
    const at::NoGradGuard no_grad;
    for (const auto& parameter : parameters)
      parameter.value().copy_(golden[GetParam() + ".param." + parameter.key()]);
  }
  const at::Tensor in = golden["in.x"].to(at::kDouble).requires_grad_();

  const at::Tensor out = head.forward(in, nullptr);
  (out * out * golden["in.loss_weight"]).sum().backward();

  // The files hold fp32 roundings of fp64 results.
  EXPECT_LE(relative_difference(out, golden[GetParam() + ".out"]), 1e-6);
  EXPECT_LE(relative_difference(in.grad(), golden[GetParam() + ".grad_in"]), 1e-6);
  const auto gradients = golden.names(GetParam() + ".grad.");
  EXPECT_EQ(gradients.size(), parameters.size());
  for (const std::string& name : gradients) {
    const at::Tensor expected = golden[GetParam() + ".grad." + name].to(at::kDouble);
    // A bias before a batch norm changes nothing: its gradient is rounding, which has no scale.
    const double scale = std::max(expected.abs().max().item<double>(), 1e-6);
    EXPECT_LE((parameters[name].grad() - expected).abs().max().item<double>(), 1e-6 * scale) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, GoldenHead, ::testing::Values("normed", "free", "bn"),
                         [](const auto& test) { return test.param; });

TEST(DinoNetwork, NamesAndLayersAreThoseOfBackboneAndHead) {
  const auto backbone = testing::small_model(testing::small_shape());
  nn::DinoNetwork network(backbone, {.width = 24, .hidden = 8, .bottleneck = 4, .prototypes = 6});

  const auto parameters = network.named_parameters();

  EXPECT_TRUE(parameters.contains("backbone.blocks.2.attn.qkv.weight"));
  EXPECT_TRUE(parameters.contains("head.last_layer.weight_v"));
  EXPECT_FALSE(parameters.contains("head.last_layer.weight_g")) << "it is 1 and no parameter";
  EXPECT_EQ(network.layer_of("backbone.cls_token"), 0);
  EXPECT_EQ(network.layer_of("backbone.blocks.2.norm1.bias"), 3);
  EXPECT_EQ(network.layer_of("backbone.norm.weight"), 4);
  EXPECT_EQ(network.layer_of("head.mlp.0.weight"), 4);
}

}  // namespace
}  // namespace cohort
