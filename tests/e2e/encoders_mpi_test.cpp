// Encoders other than vision transformers: the same numbers on any number of ranks, for every strategy, and
// after a kill; running statistics too.
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "trained_result.h"

namespace cohort {
namespace {

constexpr int kSteps = 3;

/// An encoder in small, a buffer of it that training moves (empty: it has none), and contexts.
struct Row {
  std::string name;
  nn::ModelConfig model;
  std::string buffer{};
  std::vector<std::string> context_keys{};
};

const std::vector<Row>& rows() {
  static const std::vector<Row> all{
      {"resnet", {.name = "resnet18", .resnet = {.width = 4}}, "layer4.1.bn2.running_mean"},
      {"cct", {.name = "cct_7_3x2", .width = 24, .depth = 2, .heads = 3, .drop_path = 0.2}, "", {"context"}},
      {"cvt",
       {.name = "cvt_7_4",
        .width = 16,
        .depth = 2,
        .heads = 2,
        .cct = {.positions = nn::CctPositions::sinusoidal}}},
      {"csit", {.name = "csit_14_7x2_p8", .width = 24, .depth = 2, .heads = 3}, "", {"context"}},
      {"pvtv2", {.name = "pvtv2_b0", .width = 8, .drop_path = 0.2}},
  };
  return all;
}

struct Case {
  std::size_t row = 0;
  shard::Strategy strategy = shard::Strategy::replicate;
  bool reproducible = false;
};

std::string name_of(const Case& variant) {
  return fmt::format("{}_{}{}", rows().at(variant.row).name, config::enum_name(variant.strategy),
                     variant.reproducible ? "_exact" : "");
}

void PrintTo(const Case& variant, std::ostream* out) {
  *out << name_of(variant);
}

train::RunConfig configuration(const Case& variant, int ranks) {
  train::RunConfig config = e2e::nuclei_run();
  config.model = rows().at(variant.row).model;
  config.context.keys = rows().at(variant.row).context_keys;
  // Deep in the network batch normalisation divides by the deviation of few values, and Adam would turn the
  // rounding of large gradients into whole steps. An update by SGD is a multiple of the gradient.
  config.optimizer.name = "sgd";
  config.optimizer.clip_norm = 1;
  config.optimizer.lr = 0.1;
  config.train.max_steps = kSteps;
  config.sharding.strategy = variant.strategy;
  if (variant.strategy == shard::Strategy::hybrid) config.sharding.shard_size = ranks == 4 ? 2 : ranks;
  config.sharding.activation_checkpointing = variant.strategy == shard::Strategy::full;
  config.reproducible = variant.reproducible;
  return config;
}

void expect_same_bits(const e2e::Result& expected, const e2e::Result& actual) {
  EXPECT_EQ(actual.losses, expected.losses);
  for (const auto& [name, values] : expected.weights)
    EXPECT_TRUE(at::equal(values, actual.weights.at(name))) << name;
}

// fp32: sums in another order over three steps.
void expect_close(const e2e::Result& expected, const e2e::Result& actual) {
  ASSERT_EQ(actual.losses.size(), expected.losses.size());
  for (std::size_t step = 0; step < actual.losses.size(); ++step)
    EXPECT_NEAR(actual.losses[step], expected.losses[step], 1e-5 * std::abs(expected.losses[step]));
  for (const auto& [name, values] : expected.weights) {
    const double scale = std::max(values.abs().max().item<double>(), 1e-2);
    EXPECT_LE((values - actual.weights.at(name)).abs().max().item<double>(), 1e-5 * scale) << name;
  }
}

class EncoderRuns : public ::testing::TestWithParam<Case> {
 protected:
  EncoderRuns() : session_(argc_, argv_, std::chrono::seconds(60)), world_(session_.world()) {}

  int argc_ = 0;
  char** argv_ = nullptr;
  comm::Session session_;
  comm::Communicator world_;
};

const e2e::Result& unsharded(const Case& variant, comm::Communicator& world) {
  static std::map<std::pair<std::size_t, bool>, e2e::Result> results;
  const auto [found, is_new] = results.try_emplace({variant.row, variant.reproducible});
  if (is_new) {
    comm::Communicator alone = world.split(world.rank(), "alone");
    const Case plain{.row = variant.row, .reproducible = variant.reproducible};
    found->second = e2e::train_on(alone, configuration(plain, 1));
  }
  return found->second;
}

TEST_P(EncoderRuns, GiveTheResultOfTheUnshardedRun) {
  ASSERT_EQ(world_.size(), 4);
  const e2e::Result& expected = unsharded(GetParam(), world_);
  if (const std::string& buffer = rows().at(GetParam().row).buffer; !buffer.empty()) {
    EXPECT_GT(expected.weights.at(buffer).abs().max().item<double>(), 0.0) << buffer;
  }

  comm::Communicator three_and_one = world_.split(world_.rank() < 3 ? 0 : 1, "three and one");
  comm::Communicator two_and_two = world_.split(world_.rank() / 2, "two and two");
  for (comm::Communicator* ranks : {&world_, &three_and_one, &two_and_two}) {
    SCOPED_TRACE(std::to_string(ranks->size()) + " ranks");
    const e2e::Result actual = e2e::train_on(*ranks, configuration(GetParam(), ranks->size()));
    if (GetParam().reproducible) {
      expect_same_bits(expected, actual);
    } else {
      expect_close(expected, actual);
    }
  }
}

std::vector<Case> all_cases() {
  std::vector<Case> all;
  using enum shard::Strategy;
  for (std::size_t row = 0; row < rows().size(); ++row) {
    for (const auto strategy : {replicate, optimizer, full, hybrid}) {
      for (const bool reproducible : {false, true}) all.push_back({row, strategy, reproducible});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, EncoderRuns, ::testing::ValuesIn(all_cases()),
                         [](const auto& test) { return name_of(test.param); });

// What is behind the second step is lost, and done again by two ranks that divide the parameters.
TEST(EncoderKill, ARunThatGoesOnOnOtherRanksHasTheSameBits) {
  int argc = 0;
  char** argv = nullptr;
  const comm::Session session(argc, argv, std::chrono::seconds(60));
  comm::Communicator world = session.world();
  const std::unique_ptr<testing::TemporaryFolder> own =
      world.rank() == 0 ? std::make_unique<testing::TemporaryFolder>() : nullptr;
  train::RunConfig config = configuration({.reproducible = true}, 4);
  config.run_dir = world.broadcast_text(own ? own->path().string() : "") + "/run";
  config.train.max_steps = 4;
  config.checkpoint.every_steps = 2;
  EXPECT_EQ(train::Trainer(config, world).run(), ExitCode::done);
  world.barrier();
  const auto expected = e2e::weights_of(config.run_dir);
  world.barrier();
  if (world.rank() == 0) {
    std::filesystem::remove_all(config.run_dir / "checkpoints" / "step-00000004");
    std::filesystem::remove(config.run_dir / "weights.safetensors");
  }
  world.barrier();

  comm::Communicator two_and_two = world.split(world.rank() / 2, "two and two");
  config.sharding.strategy = shard::Strategy::full;
  if (world.rank() < 2) {
    train::Trainer again(config, two_and_two);
    EXPECT_EQ(again.first_step(), 2);
    EXPECT_EQ(again.run(), ExitCode::done);
  }
  world.barrier();

  for (const auto& [name, values] : e2e::weights_of(config.run_dir))
    EXPECT_TRUE(at::equal(values, expected.at(name))) << name;
  world.barrier();
}

}  // namespace
}  // namespace cohort
