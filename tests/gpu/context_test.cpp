// Context inference on the device against the CPU: both scopes, forward and backward.
#include "cohort/nn/context.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "nn/segment_sums.h"
#include "support/golden.h"

namespace cohort::nn {
namespace {

struct Tokens {
  at::Tensor values, gradient;  ///< on the CPU
};

Tokens tokens_on(at::Device device, const at::Tensor& patches, Scope scope) {
  ContextInference inference({.keys = {"plate", "camera"}, .amortization = Amortization::mean}, {2, 3},
                             patches.size(2));
  Conditions conditions;
  conditions.group = at::tensor({4, 7, 9, 4, 7, 9}, at::kLong).to(device);
  conditions.context = at::tensor({1, 2, 0, 2, 1, 0, 1, 1, 0, 2, 1, 0}, at::kLong).view({6, 2}).to(device);
  conditions.scope = scope;
  const at::Tensor input = patches.to(device).requires_grad_();
  const at::Tensor tokens = inference.forward(input, conditions);
  tokens.square().sum().backward();
  return {tokens.detach().cpu(), input.grad().cpu()};
}

TEST(GpuContext, TokensAndGradientsAreThoseOfTheCpu) {
  at::manual_seed(1);
  const at::Tensor patches = at::randn({6, 9, 40});
  for (const Scope scope : {Scope::group, Scope::global}) {
    const Tokens cpu = tokens_on(at::kCPU, patches, scope), gpu = tokens_on(at::kCUDA, patches, scope);
    EXPECT_LT(testing::relative_difference(gpu.values, cpu.values), 1e-5);
    EXPECT_LT(testing::relative_difference(gpu.gradient, cpu.gradient), 1e-5);
  }
}

TEST(GpuContext, SumsHaveTheBitsOfTheReplay) {
  at::manual_seed(1);
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const at::Tensor means = at::randn({300, 385}, type), weights = at::randn({50, 386}, type);
    const at::Tensor segment = at::randint(50, {2, 300}, at::kLong);
    std::vector<at::Tensor> tables, gradients;
    for (const at::Device device : {at::Device(at::kCPU), at::Device(at::kCUDA)}) {
      const at::Tensor input = means.to(device, /*non_blocking=*/false, /*copy=*/true).requires_grad_();
      const at::Tensor table = segment_sums(input, segment.to(device), 50);
      (table * weights.to(device)).sum().backward();
      tables.push_back(table.detach().cpu());
      gradients.push_back(input.grad().cpu());
    }
    EXPECT_TRUE(at::equal(tables[0], tables[1]));
    EXPECT_TRUE(at::equal(gradients[0], gradients[1]));
  }
}

}  // namespace
}  // namespace cohort::nn
