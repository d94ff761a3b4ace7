#include "nn/linear.h"

#include <vector>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>

#include "../support/golden.h"
#include "../support/small_model.h"

namespace cohort {
namespace {

using testing::normal_values;
using testing::relative_difference;

struct Results {
  at::Tensor output, input, weight, bias;  // values, then gradients
};

// By the layer under test if fp32, by LibTorch's own if fp64.
Results run(const at::Tensor& input, at::ScalarType type, bool input_needs_gradient = true) {
  const std::int64_t width = input.size(-1), outputs = 160;
  torch::nn::Linear layer(width, outputs);
  layer->weight.set_data(normal_values({outputs, width}, 1).to(type));
  layer->bias.set_data(normal_values({outputs}, 2).to(type));
  const at::Tensor x = input.detach().to(type).requires_grad_(input_needs_gradient);
  const at::Tensor y = type == at::kFloat ? nn::linear(*layer, x) : layer->forward(x);
  (y * normal_values(y.sizes().vec(), 3).to(type)).sum().backward();
  return {y, x.grad(), layer->weight.grad(), layer->bias.grad()};
}

// Sums of at most 1,056 products in fp32, each rounded to 2^-24: far below 1e-5 of the largest value.
constexpr double kRounding = 1e-5;

void expect_equal(const at::Tensor& input) {
  const Results single = run(input, at::kFloat), exact = run(input, at::kDouble);
  EXPECT_LT(relative_difference(single.output, exact.output), kRounding);
  EXPECT_LT(relative_difference(single.input, exact.input), kRounding);
  EXPECT_LT(relative_difference(single.weight, exact.weight), kRounding);
  EXPECT_LT(relative_difference(single.bias, exact.bias), kRounding);
  EXPECT_EQ(single.input.sizes(), input.sizes());
}

TEST(Linear, LargeProductsEqualFp64WithinRounding) {
  expect_equal(normal_values({8, 132, 192}, 4));  // 2^24.9 multiplications: oneDNN
}

TEST(Linear, SmallProductsEqualFp64WithinRounding) {
  expect_equal(normal_values({2, 7, 192}, 4));
}

TEST(Linear, TakesInputsOfAnyStrides) {
  expect_equal(normal_values({192, 132, 8}, 4).permute({2, 1, 0}));
}

TEST(Linear, SpendsNothingOnTheGradientOfAnInputThatNeedsNone) {
  const Results results = run(normal_values({8, 132, 192}, 4), at::kFloat, /*input_needs_gradient=*/false);
  EXPECT_FALSE(results.input.defined());
  EXPECT_TRUE(results.weight.defined());
}

// Of numbers that bf16 holds, so that only results are rounded, to 2^-9 of the largest at most.
at::Tensor bf16_values(std::vector<std::int64_t> shape, std::uint64_t seed) {
  return normal_values(std::move(shape), seed).to(at::kBFloat16).to(at::kFloat);
}

void expect_rounded(const at::Tensor& value, const at::Tensor& exact) {
  EXPECT_LT(relative_difference(value.to(at::kDouble), exact), 1.0 / 256);
}

TEST(Linear, UnderAutocastSumsOfBf16ProductsAreRoundedOnce) {
  const at::Tensor x = bf16_values({8, 33, 192}, 4).requires_grad_(),
                   weight = bf16_values({160, 192}, 5).requires_grad_(),
                   bias = bf16_values({160}, 6).requires_grad_(), slope = bf16_values({8, 33, 160}, 7);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  const at::Tensor y = nn::linear(x, weight, bias);
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  (y * slope.to(at::kBFloat16)).sum().backward();

  const at::Tensor flat = slope.to(at::kDouble).reshape({-1, 160});
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  expect_rounded(y, at::linear(x.to(at::kDouble), weight.to(at::kDouble), bias.to(at::kDouble)));
  expect_rounded(x.grad().reshape({-1, 192}), flat.mm(weight.to(at::kDouble)));
  expect_rounded(weight.grad(), flat.t().mm(x.to(at::kDouble).reshape({-1, 192})));
  expect_rounded(bias.grad(), flat.sum(0));
}

TEST(Linear, NeedsNoBias) {
  for (const bool narrow : {false, true}) {
    const at::Tensor x = bf16_values({8, 132, 192}, 4).requires_grad_(),
                     weight = bf16_values({160, 192}, 5).requires_grad_();
    at::autocast::set_autocast_enabled(at::kCPU, narrow);
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    const at::Tensor y = nn::linear(x, weight, at::Tensor());
    at::autocast::set_autocast_enabled(at::kCPU, false);
    at::autocast::clear_cache();
    y.sum().backward();
    expect_rounded(y, at::linear(x.to(at::kDouble), weight.to(at::kDouble)));
    expect_rounded(x.grad(), weight.to(at::kDouble).sum(0).expand_as(x));
    expect_rounded(weight.grad(), x.to(at::kDouble).sum(at::IntArrayRef{0, 1}).expand_as(weight));
  }
}

TEST(Linear, MultipliesLayersOfBf16WithoutAutocast) {
  torch::nn::Linear layer(192, 160);
  layer->to(at::kBFloat16);
  const at::Tensor x = bf16_values({8, 33, 192}, 4);
  const at::Tensor y = nn::linear(*layer, x.to(at::kBFloat16));
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  expect_rounded(y,
                 at::linear(x.to(at::kDouble), layer->weight.to(at::kDouble), layer->bias.to(at::kDouble)));
}

}  // namespace
}  // namespace cohort
