#include "cohort/nn/batch_norm.h"

#include <array>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>

#include "cohort/core/error.h"

namespace cohort {
namespace {

using nn::BatchNorm;
using nn::NormScope;

at::Tensor maps(std::int64_t images, double phase = 0.0) {
  return at::sin(at::arange(images * 3 * 4 * 5) * 1.3 + phase).view({images, 3, 4, 5}) * 2 + 0.5;
}

nn::Conditions training() {
  nn::Conditions conditions;
  conditions.training = true;
  return conditions;
}

double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

struct Pair {
  explicit Pair(NormScope scope) : ours(3, scope), theirs(torch::nn::BatchNorm2dOptions(3)) {
    const at::NoGradGuard no_grad;
    for (auto* norm :
         {static_cast<torch::nn::Module*>(&ours), static_cast<torch::nn::Module*>(theirs.get())}) {
      norm->named_parameters()["weight"].copy_(at::tensor({0.5F, 1.5F, -2.0F}));
      norm->named_parameters()["bias"].copy_(at::tensor({0.1F, 0.0F, 3.0F}));
    }
  }
  BatchNorm ours;
  torch::nn::BatchNorm2d theirs;
};

class BatchNormOfOneGroup : public ::testing::TestWithParam<NormScope> {};

TEST_P(BatchNormOfOneGroup, IsThatOfTorchInTrainingAndAfter) {
  Pair pair(GetParam());
  for (int step = 0; step < 3; ++step) {
    const at::Tensor x = maps(4, step).requires_grad_(), y = maps(4, step).requires_grad_();
    const at::Tensor ours = pair.ours.forward(x, training(), {}), theirs = pair.theirs(y);
    EXPECT_LE(difference(ours, theirs), 2e-6);
    (ours * maps(4, 7)).sum().backward();
    (theirs * maps(4, 7)).sum().backward();
    EXPECT_LE(difference(x.grad(), y.grad()), 1e-5);
    pair.ours.finish_step();
  }
  for (const char* name : {"weight", "bias"}) {
    const auto ours = pair.ours.named_parameters(), theirs = pair.theirs->named_parameters();
    EXPECT_LE(difference(ours[name].grad(), theirs[name].grad()), 1e-4) << name;
  }
  for (const char* name : {"running_mean", "running_var"})
    EXPECT_LE(difference(pair.ours.named_buffers()[name], pair.theirs->named_buffers()[name]), 2e-6) << name;
  pair.theirs->eval();
  EXPECT_LE(difference(pair.ours.forward(maps(4, 9), {}, {}), pair.theirs(maps(4, 9))), 2e-6);
}

TEST_P(BatchNormOfOneGroup, HasNoParametersWhereItIsNotAffine) {
  BatchNorm ours(3, GetParam(), /*affine=*/false);
  torch::nn::BatchNorm2d theirs(torch::nn::BatchNorm2dOptions(3).affine(false));
  EXPECT_TRUE(ours.parameters().empty());
  const at::Tensor x = maps(4).requires_grad_(), y = maps(4).requires_grad_();
  const at::Tensor out = ours.forward(x, training(), {}), wanted = theirs(y);
  EXPECT_LE(difference(out, wanted), 2e-6);
  (out * maps(4, 7)).sum().backward();
  (wanted * maps(4, 7)).sum().backward();
  EXPECT_LE(difference(x.grad(), y.grad()), 1e-5);
  ours.finish_step();
  theirs->eval();
  EXPECT_LE(difference(ours.forward(maps(4, 9), {}, {}), theirs(maps(4, 9))), 2e-6);
}

INSTANTIATE_TEST_SUITE_P(Scopes, BatchNormOfOneGroup, ::testing::Values(NormScope::group, NormScope::all));

TEST(BatchNorm, StatisticsOfBf16AreFp32) {
  for (const bool affine : {false, true}) {
    BatchNorm of_bf16(3, NormScope::group, affine), of_same(3, NormScope::group, affine);
    const at::Tensor x = maps(4).to(at::kBFloat16);
    const at::Tensor out = of_bf16.forward(x, training(), {});
    const at::Tensor wanted = of_same.forward(x.to(at::kFloat), training(), {});
    of_bf16.finish_step();
    of_same.finish_step();
    EXPECT_EQ(out.scalar_type(), at::kBFloat16);
    EXPECT_LE(difference(out, wanted), 0.02);
    for (const char* name : {"running_mean", "running_var"})
      EXPECT_LE(difference(of_bf16.named_buffers()[name], of_same.named_buffers()[name]), 1e-5) << name;
  }
}

TEST(BatchNorm, GroupsAreNormalisedEachByItself) {
  Pair pair(NormScope::group);
  const at::Tensor x = maps(6);
  const std::array<std::int64_t, 2> sizes{4, 2};

  const at::Tensor out = pair.ours.forward(x, training(), sizes);
  pair.ours.finish_step();

  at::Tensor mean = at::zeros({3}), variance = at::zeros({3});
  for (const auto& [begin, size] : {std::pair{0, 4}, std::pair{4, 2}}) {
    torch::nn::BatchNorm2d alone(torch::nn::BatchNorm2dOptions(3).momentum(1.0));
    const at::NoGradGuard no_grad;
    alone->weight.copy_(pair.theirs->weight);
    alone->bias.copy_(pair.theirs->bias);
    EXPECT_TRUE(at::equal(out.narrow(0, begin, size), alone(x.narrow(0, begin, size))));
    mean += alone->running_mean / 2;
    variance += alone->running_var / 2;
  }
  EXPECT_LE(difference(pair.ours.named_buffers()["running_mean"], 0.1 * mean), 1e-7);
  EXPECT_LE(difference(pair.ours.named_buffers()["running_var"], 0.9 + 0.1 * variance), 1e-6);
}

TEST(BatchNorm, RunningStatisticsHaveTheSameBitsInAnyOrderOfGroups) {
  std::vector<at::Tensor> found;
  for (const bool reversed : {false, true}) {
    BatchNorm norm(3);
    for (int i = 0; i < 5; ++i) norm.forward(maps(2, reversed ? 4 - i : i) * 1e3, training(), {});
    norm.finish_step();
    found.push_back(norm.named_buffers()["running_var"]);
  }
  EXPECT_TRUE(at::equal(found[0], found[1]));
}

TEST(BatchNorm, FrozenStatisticsStay) {
  BatchNorm norm(3, NormScope::frozen);
  const at::Tensor out = norm.forward(maps(4), training(), {});
  norm.finish_step();
  EXPECT_TRUE(at::equal(out, norm.forward(maps(4), {}, {})));
  EXPECT_TRUE(at::equal(norm.named_buffers()["running_mean"], at::zeros({3})));
}

TEST(BatchNorm, ARepeatedPassIsNotCounted) {
  BatchNorm norm(3), other(3);
  norm.forward(maps(4), training(), {});
  other.forward(maps(4), training(), {});
  {
    const nn::RepeatedPass repeated;
    other.forward(maps(4, 1), training(), {});
  }
  EXPECT_TRUE(at::equal(norm.sums(), other.sums()));
}

TEST(BatchNorm, RefusesGroupsOfOneRow) {
  BatchNorm norm(3);
  const std::array<std::int64_t, 2> sizes{1, 1};
  EXPECT_THROW(norm.forward(maps(2).flatten(2).select(2, 0), training(), sizes), UsageError);
}

}  // namespace
}  // namespace cohort
