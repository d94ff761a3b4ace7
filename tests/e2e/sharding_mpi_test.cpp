// Strategies differ in where things are, not in results: every one of them, on 1, 2, 3 and 4 ranks, against
// the unsharded run of one rank; and, where a run is reproducible, bit for bit.
#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "trained_result.h"

namespace cohort {
namespace {

constexpr int kSteps = 3;

struct Case {
  shard::Strategy strategy = shard::Strategy::replicate;
  bool bf16 = false, micro_batches = false, recomputes = false, reproducible = false, lars = false;
};

std::string name_of(const Case& variant) {
  std::string name(config::enum_name(variant.strategy));
  for (const auto& [on, text] :
       {std::pair(variant.bf16, "_bf16"), std::pair(variant.micro_batches, "_accumulated"),
        std::pair(variant.recomputes, "_recomputed"), std::pair(variant.reproducible, "_exact"),
        std::pair(variant.lars, "_lars")}) {
    if (on) name += text;
  }
  return name;
}

void PrintTo(const Case& variant, std::ostream* out) {
  *out << name_of(variant);
}

train::RunConfig configuration(const Case& variant, int ranks) {
  train::RunConfig config = e2e::nuclei_run();
  config.model.dropout = config.model.drop_path = 0.1;
  config.context.amortization = nn::Amortization::mean_linear_layer;
  config.train.max_steps = kSteps;
  config.precision = variant.bf16 ? train::Precision::bf16 : train::Precision::fp32;
  config.sharding.strategy = variant.strategy;
  // 4 ranks: two models of two shards each; fewer: one model.
  if (variant.strategy == shard::Strategy::hybrid) config.sharding.shard_size = ranks == 4 ? 2 : ranks;
  if (variant.bf16) config.sharding.gather = shard::WireType::bf16;
  if (variant.micro_batches) config.train.micro_batches = ranks == 3 ? 2 : 3;
  config.train.reduce_every_micro_batch = variant.micro_batches && variant.recomputes;
  config.sharding.activation_checkpointing = variant.recomputes;
  config.reproducible = variant.reproducible;
  if (variant.lars) {
    config.optimizer.name = "lars";
    config.optimizer.lr = 1.0;  // a matrix moves by a thousandth of its norm
    config.optimizer.clip_norm = 0.5;
    config.optimizer.clip = shard::ClipScope::parameter;
  }
  return config;
}

// The plain run: one rank, everything whole, one backward pass a step unless bits count.
Case reference_of(const Case& variant) {
  return {.bf16 = variant.bf16, .reproducible = variant.reproducible, .lars = variant.lars};
}

/// How far weights are apart: the largest difference in fp32. In bf16 the root of the mean square: in its
/// first steps AdamW moves each value by about the learning rate however small its gradient is, also those
/// few whose gradient is smaller than its rounding error, in a direction that is then left to chance.
double distance(const at::Tensor& a, const at::Tensor& b, bool bf16) {
  const at::Tensor difference = (a - b).to(at::kDouble);
  return bf16 ? difference.square().mean().sqrt().item<double>() : difference.abs().max().item<double>();
}

// fp32: sums in another order, 1e-7 each, over three steps. bf16: the partial gradients of ranks and
// micro-batches are rounded to 8 bits before they are added, 2^-9 relative each.
void expect_close(const e2e::Result& expected, const e2e::Result& actual, const Case& variant) {
  const double bound = variant.bf16 ? 5e-3 : 1e-5;
  ASSERT_EQ(actual.losses.size(), std::size_t{kSteps});
  for (std::size_t step = 0; step < actual.losses.size(); ++step) {
    EXPECT_NEAR(actual.losses[step], expected.losses[step], bound * std::abs(expected.losses[step]))
        << "step " << step;
  }
  for (const auto& [name, weight] : expected.weights) {
    const at::Tensor& other = actual.weights.at(name);
    const double scale = std::max(weight.abs().max().item<double>(), 1e-2);
    EXPECT_LE(distance(weight, other, variant.bf16), bound * scale) << name;
  }
}

void expect_same_bits(const e2e::Result& expected, const e2e::Result& actual) {
  EXPECT_EQ(actual.losses, expected.losses);
  for (const auto& [name, weight] : expected.weights)
    EXPECT_TRUE(at::equal(weight, actual.weights.at(name))) << name;
}

// Every rank for itself; runs once for all cases with the same reference.
const e2e::Result& unsharded(const Case& reference, comm::Communicator& world) {
  static std::map<std::string, e2e::Result> results;
  const auto [found, is_new] = results.try_emplace(name_of(reference));
  if (is_new) {
    comm::Communicator alone = world.split(world.rank(), "alone");
    found->second = e2e::train_on(alone, configuration(reference, 1));
  }
  return found->second;
}

class Sharding : public ::testing::TestWithParam<Case> {};

TEST_P(Sharding, GivesTheResultOfTheUnshardedRun) {
  int argc = 0;
  char** argv = nullptr;
  const comm::Session session(argc, argv, std::chrono::seconds(60));
  comm::Communicator world = session.world();
  ASSERT_EQ(world.size(), 4);
  const e2e::Result& expected = unsharded(reference_of(GetParam()), world);

  comm::Communicator three_and_one = world.split(world.rank() < 3 ? 0 : 1, "three and one");
  comm::Communicator two_and_two = world.split(world.rank() / 2, "two and two");
  for (comm::Communicator* ranks : {&world, &three_and_one, &two_and_two}) {
    SCOPED_TRACE(std::to_string(ranks->size()) + " ranks");
    const e2e::Result actual = e2e::train_on(*ranks, configuration(GetParam(), ranks->size()));
    if (GetParam().reproducible) {
      expect_same_bits(expected, actual);
    } else {
      expect_close(expected, actual, GetParam());
    }
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  using enum shard::Strategy;
  for (const auto strategy : {replicate, optimizer, full, hybrid}) {
    for (const bool bf16 : {false, true}) {
      for (const bool micro_batches : {false, true}) {
        for (const bool recomputes : {false, true})
          all.push_back({strategy, bf16, micro_batches, recomputes});
      }
      all.push_back({strategy, bf16, false, strategy == full, true});
    }
  }
  // Its norms of whole parameters are sums over the shards of all ranks.
  all.push_back({.strategy = full, .recomputes = true, .reproducible = true, .lars = true});
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, Sharding, ::testing::ValuesIn(cases()),
                         [](const auto& test) { return name_of(test.param); });

}  // namespace
}  // namespace cohort
