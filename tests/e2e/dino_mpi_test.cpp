// DINO on 1, 2 and 4 ranks under every strategy: the losses and the teacher of one rank that holds
// everything; bit for bit where a run is reproducible.
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "../support/options.h"
#include "trained_result.h"

namespace cohort {
namespace {

constexpr int kSteps = 4;

struct Case {
  shard::Strategy strategy = shard::Strategy::replicate;
  bool reproducible = false;
};

train::RunConfig configuration(const Case& variant) {
  train::RunConfig config = e2e::nuclei_run();
  testing::set_options(
      config, {"method=dino", "dino.prototypes=48", "dino.hidden=32", "dino.bottleneck=16",
               "dino.freeze_last_layer=0", "dino.student_channel_drop=0.2", "dino.teacher_momentum=0.8"});
  config.sampler.groups_per_step = 4;
  config.model.width = 24;
  config.model.depth = 2;
  config.model.dropout = config.model.drop_path = 0.1;
  config.context.amortization = nn::Amortization::mean_linear_layer;
  config.train.max_steps = kSteps;
  config.reproducible = variant.reproducible;
  config.sharding.strategy = variant.strategy;
  if (variant.strategy == shard::Strategy::hybrid) config.sharding.shard_size = 2;
  return config;
}

// fp32 sums over ranks in another order differ by about 1e-7 relative, over four steps.
void expect_close(const e2e::Result& expected, const e2e::Result& actual) {
  constexpr double kBound = 1e-5;
  for (std::size_t step = 0; step < expected.losses.size(); ++step)
    EXPECT_NEAR(actual.losses[step], expected.losses[step], kBound * expected.losses[step]) << step;
  for (const auto& [name, weight] : expected.weights) {
    const double scale = std::max(weight.abs().max().item<double>(), 1e-3);
    EXPECT_LE((weight - actual.weights.at(name)).abs().max().item<double>() / scale, kBound) << name;
  }
}

void expect_same_bits(const e2e::Result& expected, const e2e::Result& actual) {
  EXPECT_EQ(actual.losses, expected.losses);
  for (const auto& [name, weight] : expected.weights)
    EXPECT_TRUE(at::equal(weight, actual.weights.at(name))) << name;
}

class DinoInvariance : public ::testing::TestWithParam<bool> {};

TEST_P(DinoInvariance, GivesTheResultOfOneRank) {
  int argc = 0;
  char** argv = nullptr;
  const comm::Session session(argc, argv, std::chrono::seconds(60));
  comm::Communicator world = session.world();
  ASSERT_EQ(world.size(), 4);
  comm::Communicator alone = world.split(world.rank(), "alone");
  const e2e::Result expected = e2e::train_on(alone, configuration({.reproducible = GetParam()}));
  ASSERT_EQ(expected.losses.size(), std::size_t{kSteps});
  EXPECT_NE(expected.losses.front(), expected.losses.back());

  comm::Communicator two_and_two = world.split(world.rank() / 2, "two and two");
  using enum shard::Strategy;
  for (const auto strategy : {replicate, optimizer, full, hybrid}) {
    for (comm::Communicator* ranks : {&world, &two_and_two}) {
      SCOPED_TRACE(std::string(config::enum_name(strategy)) + " on " + std::to_string(ranks->size()));
      const e2e::Result actual = e2e::train_on(*ranks, configuration({strategy, GetParam()}));
      GetParam() ? expect_same_bits(expected, actual) : expect_close(expected, actual);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Reproducible, DinoInvariance, ::testing::Bool());

}  // namespace
}  // namespace cohort
