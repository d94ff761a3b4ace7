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

TEST(Linear, LeavesBf16ToAutocast) {
  torch::nn::Linear layer(192, 160);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  const at::Tensor output = nn::linear(*layer, normal_values({8, 132, 192}, 4));
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  EXPECT_EQ(output.scalar_type(), at::kBFloat16);
}

}  // namespace
}  // namespace cohort
