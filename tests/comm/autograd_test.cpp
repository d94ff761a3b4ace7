#include "cohort/comm/autograd.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include "support/ranks.h"

namespace cohort::comm {
namespace {

at::Tensor start_values(int rank) {
  return torch::cos(torch::arange(6, at::kDouble) + 2.5 * rank).view({2, 3});
}

// A loss of each rank that depends on all ranks' values in a different, non-linear way.
at::Tensor loss_of(const at::Tensor& values, Communicator& ranks) {
  const at::Tensor total = all_reduce_sum(values * values * (ranks.rank() + 1.0), ranks);
  return (torch::sin(total) * (ranks.rank() + 0.5) + values * total).sum();
}

double total_loss(const at::Tensor& values, Communicator& ranks) {
  return ranks.sum(loss_of(values, ranks).item<double>());
}

TEST(AllReduceSum, Forward) {
  Communicator ranks = test::world();
  at::Tensor sum = torch::zeros({2, 3}, at::kDouble);
  for (int rank = 0; rank < ranks.size(); ++rank) sum += start_values(rank);
  const at::Tensor values = start_values(ranks.rank());
  EXPECT_TRUE(all_reduce_sum(values, ranks).allclose(sum, 1e-14, 1e-14));
  EXPECT_TRUE(values.equal(start_values(ranks.rank()))) << "the input was changed";
}

TEST(AllReduceSum, TakesNonContiguousValues) {
  Communicator ranks = test::world();
  const at::Tensor sum = all_reduce_sum(torch::ones({4, 5}).t(), ranks);
  EXPECT_EQ(sum.sizes(), at::IntArrayRef({5, 4}));
  EXPECT_TRUE(sum.eq(ranks.size()).all().item<bool>());
}

// Central differences of the sum of all ranks' losses, one element of one rank at a time.
TEST(AllReduceSum, GradientEqualsFiniteDifferences) {
  Communicator ranks = test::world();
  at::Tensor values = start_values(ranks.rank()).requires_grad_();
  loss_of(values, ranks).backward();
  const at::NoGradGuard no_grad;
  constexpr double kStep = 1e-5;
  for (int owner = 0; owner < ranks.size(); ++owner) {
    for (int element = 0; element < 6; ++element) {
      at::Tensor moved = start_values(ranks.rank());
      const double mine = ranks.rank() == owner ? kStep : 0.0;
      moved.view(-1)[element] += mine;
      const double above = total_loss(moved, ranks);
      moved.view(-1)[element] -= 2 * mine;
      const double below = total_loss(moved, ranks);
      if (ranks.rank() != owner) continue;
      const double gradient = values.grad().view(-1)[element].item<double>();
      EXPECT_NEAR(gradient, (above - below) / (2 * kStep), 1e-7 * std::max(1.0, std::abs(gradient)));
    }
  }
}

}  // namespace
}  // namespace cohort::comm
