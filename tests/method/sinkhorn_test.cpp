// Sinkhorn-Knopp centring against numbers of its algorithm, and on any number of ranks.
#include "cohort/method/sinkhorn.h"

#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/method/dino_loss.h"

#include "../support/golden.h"
#include "../support/ranks.h"

namespace cohort::method {
namespace {

using testing::Golden;

at::Tensor rows_of_rank(const at::Tensor& rows, comm::Communicator& world) {
  const std::int64_t count = rows.size(0) / world.size();
  return rows.narrow(0, world.rank() * count, count);
}

void expect_probabilities(const std::string& temperature, comm::Communicator* ranks) {
  const Golden golden("sinkhorn");
  const at::Tensor logits = golden["in.logits"].to(at::kDouble);
  const double divisor = std::stod(temperature);
  const at::Tensor centre =
      sinkhorn_centre(ranks != nullptr ? rows_of_rank(logits, *ranks) : logits, divisor, ranks);
  const at::Tensor actual = teacher_probabilities(logits, centre, divisor);
  const at::Tensor expected = golden["out.probabilities_" + temperature];
  EXPECT_LE((actual - expected).abs().max().item<double>(), 1e-8) << temperature;
}

TEST(Sinkhorn, EqualsTheReference) {
  expect_probabilities("0.04", nullptr);
  expect_probabilities("0.07", nullptr);
}

TEST(Sinkhorn, IsThatOfTheRowsOfAllRanks) {
  comm::Communicator world = test::world();
  expect_probabilities("0.04", &world);
}

TEST(Sinkhorn, HasTheSameBitsHoweverTheRowsAreDivided) {
  comm::Communicator world = test::world();
  const at::Tensor rows = at::sin(at::arange(24 * 37) * 1.37).view({24, 37});
  const at::Tensor whole = sinkhorn_centre(rows, 0.05, nullptr);
  EXPECT_TRUE(at::equal(sinkhorn_centre(rows_of_rank(rows, world), 0.05, &world), whole));
}

// exp(1000) is no number, and exp(-1000) is 0: the logarithms of both are.
TEST(Sinkhorn, TakesLogitsOfAnySize) {
  const at::Tensor logits = at::eye(6) * 100 - 50;
  const at::Tensor probabilities =
      teacher_probabilities(logits, sinkhorn_centre(logits, 0.05, nullptr), 0.05);
  EXPECT_LE((probabilities - at::eye(6)).abs().max().item<double>(), 1e-6);
}

// A prototype that is everyone's first becomes one among others.
TEST(Sinkhorn, SharesThePrototypes) {
  at::Tensor logits = at::sin(at::arange(64 * 8) * 2.11).view({64, 8}) * 0.1;
  logits.select(1, 3).add_(5);
  const at::Tensor probabilities = teacher_probabilities(logits, sinkhorn_centre(logits, 0.1, nullptr), 0.1);
  EXPECT_LE((probabilities.mean(0) - 1.0 / 8).abs().max().item<double>(), 0.01);
}

}  // namespace
}  // namespace cohort::method
