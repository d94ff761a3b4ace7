#include "cohort/train/trainer.h"

#include <csignal>
#include <filesystem>
#include <limits>
#include <map>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/core/file.h"
#include "cohort/nn/vit.h"

#include "support/ranks.h"
#include "support/receive_signal.h"
#include "tiny_run.h"

namespace cohort::train {
namespace {

namespace fs = std::filesystem;

using Weights = std::map<std::string, at::Tensor>;

const std::string kAllSteps = "1 2 3 4 5 6 7 8 9 10 11 12 ";

Weights weights_of(Trainer& trainer) {
  Weights weights;
  for (const auto& parameter : trainer.model().named_parameters())
    weights[parameter.key()] = parameter.value().detach().clone();
  return weights;
}

Weights train(const RunConfig& config, comm::Communicator& ranks) {
  Trainer trainer(config, ranks);
  EXPECT_EQ(trainer.run(), ExitCode::done);
  ranks.barrier();
  return weights_of(trainer);
}

/// 0: bit for bit.
double largest_difference(const Weights& a, const Weights& b) {
  double largest = a.size() == b.size() ? 0.0 : std::numeric_limits<double>::infinity();
  for (const auto& [name, values] : a)
    largest = std::max(largest, (values - b.at(name)).abs().max().item<double>());
  return largest;
}

/// A folder with the dataset, for all ranks.
class TrainerTest : public ::testing::Test {
 protected:
  TrainerTest() { testing::write_tiny_dataset(folder.path() / "tiny", world); }
  void on_first_rank(const std::function<void()>& action) {
    if (world.rank() == 0) action();
    world.barrier();
  }

  comm::Communicator world = test::world();
  testing::SharedFolder folder{world};
};

TEST_F(TrainerTest, LearnsAndLeavesACompleteRunFolder) {
  RunConfig config = tiny_run(folder.path(), "run");
  config.train.max_steps = 0;
  config.train.epochs = 30;
  config.eval.every_epochs = 10;

  const Weights weights = train(config, world);

  if (world.rank() != 0) return;
  const auto steps = lines_of(config.run_dir, "step");
  ASSERT_EQ(steps.size(), 60u);
  EXPECT_EQ(steps.back().at("epoch"), 29);
  EXPECT_LT(steps.back().at("loss").get<double>(), 0.8 * steps.front().at("loss").get<double>());
  EXPECT_EQ(steps_of(config.run_dir, "evaluation"), "20 40 60 ");
  const auto evaluation = lines_of(config.run_dir, "evaluation").back();
  EXPECT_EQ(evaluation.at("images"), testing::kTinyTest);
  EXPECT_GT(evaluation.at("accuracy").get<double>(), 0.7);
  const auto end = lines_of(config.run_dir, "end");
  ASSERT_EQ(end.size(), 1u);
  EXPECT_EQ(end.front().at("ranks"), world.size());
  const auto exported = checkpoint::read_safetensors(config.run_dir / "weights.safetensors");
  ASSERT_NE(exported.find("blocks.1.attn.qkv.weight"), nullptr);
  EXPECT_TRUE(at::equal(*exported.find("blocks.1.attn.qkv.weight"), weights.at("blocks.1.attn.qkv.weight")));
  EXPECT_EQ(dump_run_config(load_run_config(config.run_dir / "config.yaml")), dump_run_config(config));
  EXPECT_TRUE(fs::exists(config.run_dir / "log.txt"));
}

// As if the run had been killed after step 11: the newest checkpoint is that of step 6.
TEST_F(TrainerTest, ARunThatWasKilledGoesOnToTheSameBits) {
  const RunConfig config = tiny_run(folder.path(), "run");
  const Weights unbroken = train(config, world);
  on_first_rank([&] {
    fs::remove_all(config.run_dir / "checkpoints" / "step-00000012");
    fs::remove(config.run_dir / "checkpoints" / "latest");
    std::ofstream(config.run_dir / "metrics.jsonl", std::ios::app) << "{\"kind\":\"st";
  });

  Trainer trainer(config, world);
  ASSERT_EQ(trainer.first_step(), 6);
  EXPECT_EQ(trainer.run(), ExitCode::done);
  world.barrier();

  EXPECT_EQ(largest_difference(unbroken, weights_of(trainer)), 0.0);
  if (world.rank() != 0) return;
  EXPECT_EQ(steps_of(config.run_dir, "step"), kAllSteps);
  EXPECT_EQ(steps_of(config.run_dir, "evaluation"), "6 12 ");
  EXPECT_EQ(steps_of(config.run_dir, "end"), "12 ");
}

TEST_F(TrainerTest, ACheckpointGoesOnOnAnotherNumberOfRanks) {
  RunConfig config = tiny_run(folder.path(), "run");
  // Adam turns rounding noise in tiny gradients into whole steps; a larger epsilon keeps the update smooth.
  config.optimizer.epsilon = 1e-3;
  const Weights unbroken = train(config, world);
  comm::Communicator part = world.split(world.rank() == 0 ? 0 : 1, "part");
  config.resume = (config.run_dir / "checkpoints" / "step-00000006").string();
  config.run_dir = folder.path() / (world.rank() == 0 ? "alone" : "others");

  const Weights resumed = train(config, part);

  EXPECT_LT(largest_difference(unbroken, resumed), 1e-5);
  if (part.rank() == 0) {
    EXPECT_EQ(steps_of(config.run_dir, "step"), "7 8 9 10 11 12 ");
  }
}

TEST_F(TrainerTest, AStopSignalOnOneRankSavesAndStopsAll) {
  const Weights unbroken = train(tiny_run(folder.path(), "unbroken"), world);
  const RunConfig config = tiny_run(folder.path(), "stopped");
  for (const int signal : {SIGUSR2, SIGTERM}) {
    Trainer trainer(config, world);
    if (world.rank() == world.size() - 1) testing::receive_signal(signal);
    EXPECT_EQ(trainer.run(), ExitCode::stopped);
    world.barrier();
  }

  const Weights resumed = train(config, world);

  EXPECT_EQ(largest_difference(unbroken, resumed), 0.0);
  if (world.rank() == 0) {
    EXPECT_EQ(steps_of(config.run_dir, "step"), kAllSteps);
  }
}

TEST_F(TrainerTest, ACompleteRunIsLeftAsItIs) {
  const RunConfig config = tiny_run(folder.path(), "run");
  train(config, world);
  const auto steps = steps_of(config.run_dir, "step");
  world.barrier();

  train(config, world);

  EXPECT_EQ(steps_of(config.run_dir, "step"), steps);
  EXPECT_EQ(steps_of(config.run_dir, "end"), "12 ");
}

TEST_F(TrainerTest, WarnsOfEpochsOfOneStep) {
  RunConfig config = tiny_run(folder.path(), "run");
  config.train.max_steps = 1;
  EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);
  world.barrier();
  EXPECT_EQ(read_file(config.run_dir / "log.txt").find("an epoch is one step"), std::string::npos);

  config.sampler.images_per_group = 8;
  config.run_dir = folder.path() / "short";
  EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);
  world.barrier();
  const std::string log = read_file(config.run_dir / "log.txt");
  EXPECT_NE(log.find("an epoch is one step, because a step takes 96 of 96 images"), std::string::npos) << log;
  EXPECT_NE(log.find("sampler.groups_per_step="), std::string::npos) << log;
}

TEST_F(TrainerTest, OverwriteBeginsAgain) {
  RunConfig config = tiny_run(folder.path(), "run");
  config.train.max_steps = 2;
  train(config, world);

  Trainer trainer(config, world, true);

  EXPECT_EQ(trainer.first_step(), 0);
  EXPECT_EQ(trainer.run(), ExitCode::done);
}

TEST_F(TrainerTest, TrainsInBf16InBothScopes) {
  for (const nn::Scope scope : {nn::Scope::group, nn::Scope::global}) {
    RunConfig config = tiny_run(folder.path(), "bf16_" + std::string(config::enum_name(scope)));
    config.precision = Precision::bf16;
    config.context.scope = scope;
    config.train.max_steps = 4;
    for (const auto& [name, values] : train(config, world))
      EXPECT_TRUE(at::isfinite(values).all().item<bool>()) << name;
  }
}

TEST_F(TrainerTest, WeightsThatAreNotFiniteEndTheRunOnEveryRank) {
  Trainer trainer(tiny_run(folder.path(), "run"), world);
  {
    const at::NoGradGuard no_gradients;
    trainer.model().parameters().front().fill_(std::numeric_limits<float>::quiet_NaN());
  }

  try {
    trainer.run();
    FAIL() << "training went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::numerical);
    EXPECT_NE(std::string(error.what()).find("step 1"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace cohort::train
