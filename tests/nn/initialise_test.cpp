// First values that modules say themselves.
#include "cohort/nn/initialise.h"

#include <cmath>
#include <memory>
#include <optional>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "cohort/core/error.h"

namespace cohort::nn {
namespace {

struct Inner : torch::nn::Module, Initialised {
  Inner() {
    linear = register_module("linear", torch::nn::Linear(30, 50));
    token = register_parameter("token", at::zeros({1, 1, 4096}));
    scale = register_parameter("scale", at::zeros({6}));
  }
  std::optional<Draw> first_values_of(const std::string& name,
                                      const torch::nn::Module& /*owner*/) const override {
    if (name == "scale") return draw::constant(0.25);
    if (name == "token") return draw::normal(3.0);
    if (name == "linear.weight") return draw::constant(7.0);
    return std::nullopt;
  }
  torch::nn::Linear linear{nullptr};
  at::Tensor token, scale;
};

struct Outer : torch::nn::Module, Initialised {
  Outer() {
    inner = register_module("inner", std::make_shared<Inner>());
    patches = register_module("patches", torch::nn::Conv2d(3, 20, 5));
    free = register_module("free", torch::nn::Conv2d(3, 20, 5));
    norm = register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({8})));
    table = register_parameter("table", at::zeros({2, 3}));
    shift = register_parameter("shift", at::zeros({1000}));
  }
  std::optional<Draw> first_values_of(const std::string& name,
                                      const torch::nn::Module& owner) const override {
    if (name == "table") return draw::given([this] { return ++made, at::arange(6.0).view({2, 3}); });
    if (name == "shift") return draw::uniform(0.5);
    if (name.starts_with("free")) return std::nullopt;
    if (owner.as<torch::nn::Linear>() == nullptr && owner.as<torch::nn::Conv2d>() == nullptr)
      return std::nullopt;
    return name.ends_with(".bias") ? draw::constant(0.0) : draw::xavier_uniform();
  }
  std::shared_ptr<Inner> inner;
  torch::nn::Conv2d patches{nullptr}, free{nullptr};
  torch::nn::LayerNorm norm{nullptr};
  at::Tensor table, shift;
  mutable int made = 0;
};

double largest(const at::Tensor& values) {
  return values.abs().max().item<double>();
}

TEST(Initialised, TheOutermostModuleThatKnowsAParameterSaysItsFirstValues) {
  const auto model = std::make_shared<Outer>();
  initialise(*model, 3);

  const double of_linear = std::sqrt(6.0 / (30 + 50)), of_patches = std::sqrt(6.0 / (20 + 3 * 5 * 5));
  EXPECT_LE(largest(model->inner->linear->weight), of_linear);
  EXPECT_GT(largest(model->inner->linear->weight), 0.98 * of_linear);
  EXPECT_LE(largest(model->patches->weight), of_patches);
  EXPECT_GT(largest(model->patches->weight), 0.98 * of_patches);
  EXPECT_EQ(largest(model->patches->bias), 0.0);
  EXPECT_GT(largest(model->free->bias), 0.0) << "by the rules for its type";
  EXPECT_LE(largest(model->free->weight), 1 / std::sqrt(75.0));
  EXPECT_EQ(model->norm->weight.min().item<double>(), 1.0);
  EXPECT_EQ(model->inner->scale.min().item<double>(), 0.25);
  EXPECT_EQ(model->inner->scale.max().item<double>(), 0.25);
  EXPECT_TRUE(at::equal(model->table, at::arange(6.0).view({2, 3})));
  EXPECT_GT(largest(model->shift), 0.49);
  EXPECT_LE(largest(model->shift), 0.5);
}

// Mean and deviation of 4096 draws: 5 of their own deviations are allowed. Beyond two deviations lie 4.55 %
// of a normal distribution: nothing was cut.
TEST(Initialised, NormalDrawsAreNotCut) {
  const auto model = std::make_shared<Outer>();
  initialise(*model, 3);
  const at::Tensor token = model->inner->token.detach().to(at::kDouble);

  EXPECT_NEAR(token.mean().item<double>(), 0.0, 5 * 3.0 / 64);
  EXPECT_NEAR(token.std().item<double>(), 3.0, 5 * 3.0 / 64 / std::sqrt(2.0));
  EXPECT_GT(largest(token), 6.0);
  EXPECT_NEAR((token.abs() > 6.0).sum().item<double>() / 4096, 0.0455, 0.016);
}

TEST(Initialised, GivenValuesAreMadeWhenTheyAreAskedFor) {
  const auto model = std::make_shared<Outer>();
  const Initialiser fill(*model, 3);
  EXPECT_EQ(model->made, 0);
  at::Tensor values = at::zeros({2, 3});
  fill("table", values);
  EXPECT_EQ(model->made, 1);
  EXPECT_EQ(values[1][2].item<double>(), 5.0);
  at::Tensor other = at::zeros({3, 2});
  EXPECT_THROW(fill("table", other), Bug);
  EXPECT_THROW(fill("tables", values), Bug);
}

struct Unknown : torch::nn::Module {
  Unknown() { register_parameter("scale", at::zeros({6})); }
};

TEST(Initialised, AVectorThatNobodyKnowsIsABug) {
  EXPECT_THROW(initialise(*std::make_shared<Unknown>(), 1), Bug);
}

}  // namespace
}  // namespace cohort::nn
