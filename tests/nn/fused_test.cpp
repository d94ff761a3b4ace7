#include <array>
#include <cmath>
#include <limits>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "../support/golden.h"
#include "../support/small_model.h"
#include "nn/attention.h"
#include "nn/column_sums.h"
#include "nn/gelu.h"
#include "nn/layer_norm.h"
#include "nn/linear.h"

// The kernels of our own against LibTorch's formulas in fp64.
namespace cohort {
namespace {

using testing::normal_values;
using testing::relative_difference;

// fp32 results are rounded to 2^-24, bf16 ones to 2^-9, after sums that are longer than one number.
double rounding_of(at::ScalarType type) {
  return type == at::kFloat ? 1e-5 : 1e-2;
}

constexpr std::array kTypes{at::kFloat, at::kBFloat16};

class Autocast {
 public:
  explicit Autocast(bool on) {
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    at::autocast::set_autocast_enabled(at::kCPU, on);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;
  ~Autocast() {
    at::autocast::set_autocast_enabled(at::kCPU, false);
    at::autocast::clear_cache();
  }
};

class Threads {
 public:
  explicit Threads(int count) : before_(at::get_num_threads()) { at::set_num_threads(count); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  ~Threads() { at::set_num_threads(before_); }

 private:
  int before_;
};

// Of values in `type`, and of the same numbers in fp64.
struct Leaf {
  at::Tensor value, exact;

  Leaf(std::vector<std::int64_t> shape, std::uint64_t seed, at::ScalarType type)
      : value(normal_values(shape, seed).to(type).requires_grad_()),
        exact(value.detach().to(at::kDouble).requires_grad_()) {}
};

void expect_near(const at::Tensor& value, const at::Tensor& exact, at::ScalarType type) {
  ASSERT_EQ(value.sizes(), exact.sizes());
  EXPECT_EQ(value.scalar_type(), type);
  if (value.numel() == 0) return;
  EXPECT_LT(relative_difference(value.to(at::kDouble), exact), rounding_of(type));
}

void expect_same_gradient(const Leaf& leaf, at::ScalarType precision) {
  ASSERT_EQ(leaf.value.grad().sizes(), leaf.exact.grad().sizes());
  EXPECT_EQ(leaf.value.grad().scalar_type(), leaf.value.scalar_type());
  if (leaf.value.numel() == 0) return;
  EXPECT_LT(relative_difference(leaf.value.grad().to(at::kDouble), leaf.exact.grad()),
            rounding_of(precision));
}

TEST(Fused, GeluIsLibTorchsWithItsGradient) {
  for (const at::ScalarType type : kTypes) {
    for (const std::int64_t count : {0, 1, 15, 16, 77, 10'000}) {
      const Leaf x({count}, 5, type);
      const at::Tensor slope = normal_values({count}, 6);
      const at::Tensor y = nn::exact_gelu(x.value * 3),
                       exact = at::gelu((x.value.detach() * 3).to(at::kDouble));
      expect_near(y, exact, type);
      (y * slope.to(type)).sum().backward();
      (at::gelu(x.exact * 3) * slope.to(type).to(at::kDouble)).sum().backward();
      expect_same_gradient(x, type);
    }
  }
}

TEST(Fused, GeluWithoutGradientsIsThatOfTrainingBitForBit) {
  for (const at::ScalarType type : kTypes) {
    const at::Tensor x = (normal_values({10'001}, 5) * 3).to(type);
    const at::Tensor trained = nn::exact_gelu(x.detach().requires_grad_());
    const at::NoGradGuard no_gradients;

    EXPECT_TRUE(nn::exact_gelu(x).equal(trained));
    EXPECT_TRUE(nn::exact_gelu(x.detach().requires_grad_()).equal(trained));
  }
}

TEST(Fused, GeluIsPreciseInItsTails) {
  const at::Tensor x = at::linspace(-9, 9, 4001, at::kFloat), exact = at::gelu(x.to(at::kDouble));
  // Far below zero erf leaves LibTorch's fp64 formula no digits: 1e-15 absolute.
  const at::Tensor error = (nn::exact_gelu(x).to(at::kDouble) - exact).abs();
  EXPECT_TRUE(error.le(exact.abs() * 4e-6 + 1e-14).all().item<bool>()) << (error / exact.abs()).max();
}

TEST(Fused, WhatIsNotANumberStaysSo) {
  const at::Tensor nan = at::full({1, 16}, std::numeric_limits<float>::quiet_NaN());
  for (const at::ScalarType type : kTypes)
    EXPECT_TRUE(nn::exact_gelu(nan.to(type)).isnan().all().item<bool>());
  torch::nn::LayerNorm norm(torch::nn::LayerNormOptions({16}));
  EXPECT_TRUE(nn::add_and_normalise(nan, {}, *norm).normalised.isnan().all().item<bool>());
}

// Of a query all of its output, of a key that of every query, of a value that number of every query.
TEST(Fused, WhatIsNotANumberStaysSoInAttention) {
  for (const at::ScalarType type : kTypes) {
    for (const std::int64_t tokens : {5, 40}) {
      const auto mixed_with = [&](std::int64_t place) {
        at::Tensor qkv = normal_values({1, tokens, 3 * 16}, 2);
        qkv[0][2][place] = std::numeric_limits<float>::quiet_NaN();
        return nn::attention(qkv.to(type), 1, tokens)[0].isnan();
      };
      const at::Tensor of_query = mixed_with(3), of_key = mixed_with(16 + 3), of_value = mixed_with(32 + 3);
      EXPECT_TRUE(of_query[2].all().item<bool>()) << tokens;
      EXPECT_EQ(of_query.sum().item<std::int64_t>(), 16) << tokens;
      EXPECT_TRUE(of_key.all().item<bool>()) << tokens;
      EXPECT_TRUE(of_value.select(1, 3).all().item<bool>()) << tokens;
    }
  }
}

void compare_norms(std::vector<std::int64_t> shape, bool has_branch, bool narrow) {
  const at::ScalarType type = narrow ? at::kBFloat16 : at::kFloat;
  const std::int64_t width = shape.back();
  const Leaf tokens(shape, 1, at::kFloat), branch(shape, 2, type), weight({width}, 3, at::kFloat),
      bias({width}, 4, at::kFloat);
  torch::nn::LayerNorm norm(torch::nn::LayerNormOptions({width}).eps(1e-6));
  norm->weight = weight.value;
  norm->bias = bias.value;
  const at::Tensor of_sum = normal_values(shape, 5), of_normalised = normal_values(shape, 6).to(type);
  const Autocast autocast(narrow);
  const nn::NormalisedSum result =
      nn::add_and_normalise(tokens.value, has_branch ? branch.value : at::Tensor(), *norm);
  const at::Tensor sum = has_branch ? tokens.exact + branch.exact : tokens.exact;
  const at::Tensor normalised = at::layer_norm(sum, {width}, weight.exact, bias.exact, 1e-6);
  expect_near(result.sum, sum, at::kFloat);
  // LibTorch's own, of widths that we leave to it, stays fp32 under autocast
  const at::ScalarType result_type = width % 16 == 0 ? type : at::kFloat;
  expect_near(result.normalised, normalised, result_type);
  ((result.sum * of_sum).sum() + (result.normalised * of_normalised).to(at::kFloat).sum()).backward();
  ((sum * of_sum.to(at::kDouble)).sum() + (normalised * of_normalised.to(at::kDouble)).sum()).backward();
  expect_same_gradient(tokens, type);
  if (has_branch) expect_same_gradient(branch, type);
  expect_same_gradient(weight, type);
  expect_same_gradient(bias, type);
}

TEST(Fused, SumAndLayerNormAreLibTorchsWithTheirGradients) {
  for (const bool narrow : {false, true}) {
    for (const bool has_branch : {false, true}) {
      compare_norms({2, 37, 48}, has_branch, narrow);
      compare_norms({1, 1, 16}, has_branch, narrow);
      compare_norms({3, 5, 24}, has_branch, narrow);  // LibTorch's: not whole vectors
      compare_norms({0, 5, 32}, has_branch, narrow);
      compare_norms({5, 67, 128}, has_branch, narrow);  // several parts of rows and of values
    }
  }
}

TEST(Fused, SumsOfTwoTypesAreLibTorchs) {
  const Leaf tokens({3, 7, 5}, 1, at::kFloat), branch({3, 7, 5}, 2, at::kBFloat16);
  const at::Tensor slope = normal_values({3, 7, 5}, 3), sum = nn::add_branch(tokens.value, branch.value);
  EXPECT_TRUE(sum.equal(tokens.value + branch.value));
  (sum * slope).sum().backward();
  EXPECT_TRUE(tokens.value.grad().equal(slope));
  EXPECT_TRUE(branch.value.grad().equal(slope.to(at::kBFloat16)));
}

at::Tensor plain_attention(const at::Tensor& qkv, std::int64_t heads) {
  const std::int64_t images = qkv.size(0), tokens = qkv.size(1), width = qkv.size(2) / 3;
  const at::Tensor each = qkv.view({images, tokens, 3, heads, width / heads}).permute({2, 0, 3, 1, 4});
  const at::Tensor scores =
      at::matmul(each[0], each[1].transpose(2, 3)) / std::sqrt(static_cast<double>(width / heads));
  return at::matmul(at::softmax(scores, -1), each[2]).transpose(1, 2).reshape({images, tokens, width});
}

void compare_attention(std::int64_t images, std::int64_t tokens, std::int64_t heads, std::int64_t width,
                       at::ScalarType type, std::int64_t queries) {
  const Leaf qkv({images, tokens, 3 * heads * width}, 7, type);
  const at::Tensor slope = normal_values({images, queries, heads * width}, 8).to(type);
  const at::Tensor mixed = nn::attention(qkv.value, heads, queries),
                   exact = plain_attention(qkv.exact, heads).narrow(1, 0, queries);
  expect_near(mixed, exact, type);
  (mixed * slope).sum().backward();
  (exact * slope.to(at::kDouble)).sum().backward();
  expect_same_gradient(qkv, type);
}

TEST(Fused, AttentionIsThePlainFormulaWithItsGradient) {
  for (const at::ScalarType type : kTypes) {
    compare_attention(2, 146, 2, 64, type, 146);
    compare_attention(2, 146, 2, 64, type, 1);
    compare_attention(1, 1, 1, 16, type, 1);
    compare_attention(2, 17, 3, 32, type, 17);
    compare_attention(1, 97, 1, 48, type, 97);
    compare_attention(1, 331, 1, 80, type, 331);
    compare_attention(1, 331, 1, 80, type, 101);
    compare_attention(2, 9, 3, 8, type, 9);  // LibTorch's: not whole vectors
    compare_attention(2, 9, 3, 8, type, 2);
    compare_attention(0, 9, 2, 16, type, 9);
  }
}

TEST(Fused, ColumnSumsAreThoseOfFp64) {
  for (const std::int64_t width : {1, 96, 128, 384}) {
    for (const std::int64_t rows : {1, 63, 64, 257}) {
      const at::Tensor values = normal_values({rows, width}, 9).to(at::kBFloat16);
      const at::Tensor sums = nn::column_sums(values), exact = values.to(at::kDouble).sum(0);
      EXPECT_EQ(sums.scalar_type(), at::kFloat);
      EXPECT_LT(relative_difference(sums.to(at::kDouble), exact), 1e-6) << rows << " of " << width;
      const at::Tensor turned = nn::column_sums(values.t().contiguous().t());
      EXPECT_LT(relative_difference(turned.to(at::kDouble), exact), 1e-6) << rows << " of " << width;
    }
  }
}

// at::parallel_for is a header: built without OpenMP it takes one thread.
TEST(Fused, KernelsUseAllThreads) {
  const Threads limit(3);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  at::parallel_for(0, 3, 1, [&](std::int64_t /*begin*/, std::int64_t /*end*/) {
    const std::lock_guard lock(mutex);
    seen.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(seen.size(), 3);
}

TEST(Fused, TheNumberOfThreadsChangesNoBit) {
  const auto run = [](int threads, at::ScalarType type) {
    const Threads limit(threads);
    const Autocast autocast(type == at::kBFloat16);
    const Leaf x({3, 101, 128}, 1, at::kFloat), weight({128}, 2, at::kFloat), bias({128}, 3, at::kFloat);
    torch::nn::LayerNorm norm(torch::nn::LayerNormOptions({128}));
    norm->weight = weight.value;
    norm->bias = bias.value;
    const nn::NormalisedSum in = nn::add_and_normalise(x.value, {}, *norm);
    const at::Tensor qkv = at::cat({in.normalised, in.normalised * 2, nn::exact_gelu(in.normalised)}, 2);
    const Leaf matrix({128, 128}, 4, at::kFloat), shift({128}, 5, at::kFloat);
    torch::nn::Linear layer(128, 128);
    layer->weight = matrix.value;
    layer->bias = shift.value;
    const at::Tensor out = nn::add_branch(in.sum, nn::linear(*layer, nn::attention(qkv, 4, 101)));
    (out * out).sum().backward();
    return std::vector<at::Tensor>{
        out, x.value.grad(), weight.value.grad(), bias.value.grad(), matrix.value.grad(), shift.value.grad()};
  };
  for (const at::ScalarType type : kTypes) {
    const auto one = run(1, type), three = run(3, type);
    for (std::size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(one[i].equal(three[i])) << i;
  }
}

}  // namespace
}  // namespace cohort
