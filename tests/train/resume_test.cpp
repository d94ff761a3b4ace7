// Which checkpoint a run goes on from, and what of it fits.
#include <filesystem>
#include <fstream>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/core/error.h"
#include "cohort/eval/weights.h"
#include "cohort/nn/vit.h"
#include "cohort/train/import.h"
#include "cohort/train/model.h"
#include "cohort/train/trainer.h"

#include "support/faults.h"
#include "support/ranks.h"
#include "tiny_run.h"
#include "train/step_totals.h"

namespace cohort::train {
namespace {

namespace fs = std::filesystem;

class Resume : public ::testing::Test {
 protected:
  Resume() { testing::write_tiny_dataset(folder.path() / "tiny", world); }

  RunConfig finished_run() {
    RunConfig config = tiny_run(folder.path(), "run");
    EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);
    world.barrier();
    return config;
  }

  static fs::path checkpoint(const RunConfig& config, int step) {
    return config.run_dir / "checkpoints" / fmt::format("step-{:08}", step);
  }

  void on_first_rank(const std::function<void()>& action) {
    world.barrier();
    if (world.rank() == 0) action();
    world.barrier();
  }

  static void damage(const fs::path& checkpoint) { testing::flip_middle_bit(checkpoint / "state.h5"); }

  std::string refusal(const RunConfig& config, ExitCode code) {
    try {
      const Trainer trainer(config, world);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), code) << error.what();
      return error.what();
    }
    return "";
  }

  comm::Communicator world = test::world();
  testing::SharedFolder folder{world};
};

TEST_F(Resume, NeedsNoneOfTheWeightsThatTheRunBeganWith) {
  RunConfig config = finished_run();
  on_first_rank(
      [&] { fs::rename(config.run_dir / "weights.safetensors", folder.path() / "first.safetensors"); });
  config.run_dir = folder.path() / "second";
  config.model.weights = folder.path() / "first.safetensors";
  config.train.max_steps = 6;
  ASSERT_EQ(Trainer(config, world).run(), ExitCode::done);
  on_first_rank([&] { fs::remove(folder.path() / "first.safetensors"); });
  config.train.max_steps = 7;

  Trainer trainer(config, world);

  EXPECT_EQ(trainer.first_step(), 6);
  EXPECT_EQ(trainer.run(), ExitCode::done);
  world.barrier();
}

// A link, as somebody else's checkpoint may have, is damage: nothing is read through it.
TEST_F(Resume, ACheckpointThatPointsElsewhereIsDamaged) {
  RunConfig config = finished_run();
  on_first_rank([&] {
    const fs::path state = checkpoint(config, 12) / "state.h5", moved = folder.path() / "state.h5";
    fs::rename(state, moved);
    fs::create_symlink(moved, state);
  });

  EXPECT_EQ(Trainer(config, world).first_step(), 6);
  world.barrier();
}

TEST_F(Resume, TakesTheNewestIntactCheckpoint) {
  const RunConfig config = finished_run();
  const auto weights = checkpoint::read_safetensors(config.run_dir / "weights.safetensors");
  on_first_rank([&] {
    damage(checkpoint(config, 12));
    fs::create_directories(config.run_dir / "checkpoints" / "step-00000013.partial");
    fs::create_directories(checkpoint(config, 14));
  });

  Trainer trainer(config, world);

  ASSERT_EQ(trainer.first_step(), 6);
  EXPECT_EQ(trainer.run(), ExitCode::done);
  world.barrier();
  const auto again = checkpoint::read_safetensors(config.run_dir / "weights.safetensors");
  for (const auto& [name, values] : weights.tensors)
    EXPECT_TRUE(at::equal(values, *again.find(name))) << name;
  EXPECT_FALSE(fs::exists(checkpoint(config, 14))) << "of a course that was given up";
  EXPECT_FALSE(fs::exists(config.run_dir / "checkpoints" / "step-00000013.partial"));
}

TEST_F(Resume, RefusesARunWithoutAnIntactCheckpointAndNamesAll) {
  const RunConfig config = finished_run();
  on_first_rank([&] {
    damage(checkpoint(config, 12));
    fs::remove(checkpoint(config, 6) / "meta.json");
  });

  const std::string message = refusal(config, ExitCode::data);

  EXPECT_NE(message.find("the run has no intact checkpoint"), std::string::npos) << message;
  EXPECT_NE(message.find("step-00000012 is damaged: tensor '"), std::string::npos) << message;
  EXPECT_NE(message.find("step-00000006 is damaged: meta.json is missing"), std::string::npos) << message;
  EXPECT_EQ(Trainer(config, world, true).first_step(), 0);
}

TEST_F(Resume, ListsAllThatDoesNotFitTheDatasetToo) {
  RunConfig config = finished_run();
  config.train.max_steps = 20;
  config.model.depth = 3;
  config.seed = 5;
  on_first_rank([&] {
    const fs::path file = config.data.path / "dataset.json";
    std::ifstream stream(file);
    std::string text{std::istreambuf_iterator<char>(stream), {}};
    const auto name = text.find("\"tiny\"");
    ASSERT_NE(name, std::string::npos);
    std::ofstream(file) << text.replace(name, 6, "\"other\"");
  });

  const std::string message = refusal(config, ExitCode::usage);

  for (const char* difference : {"dataset: tiny", "-> other", "model.depth: 2 -> 3", "seed: 1 -> 5"})
    EXPECT_NE(message.find(difference), std::string::npos) << difference << " is not in: " << message;
}

TEST_F(Resume, RefusesOtherMeansWithBothNumbers) {
  RunConfig config = finished_run();
  config.train.max_steps = 20;
  data::Description description = data::Description::read(config.data.path);
  const double mean = description.mean.front();
  description.mean.front() = 1.5;
  on_first_rank([&] { description.write(config.data.path); });

  const std::string message = refusal(config, ExitCode::usage);

  EXPECT_NE(message.find(fmt::format("mean: {:.9g} -> 1.5", mean)), std::string::npos) << message;
}

TEST_F(Resume, TellsOfALearningRateThatJumps) {
  RunConfig config = finished_run();
  config.train.max_steps = 20;
  ::testing::internal::CaptureStderr();
  { const Trainer trainer(config, world); }
  const std::string longer = ::testing::internal::GetCapturedStderr();
  config.train.max_steps = 12;
  ::testing::internal::CaptureStderr();
  { const Trainer trainer(config, world); }
  const std::string same = ::testing::internal::GetCapturedStderr();

  if (world.rank() != 0) return;
  EXPECT_NE(longer.find("jumps at step 13: 1e-06 by the checkpoint's schedule of 12 steps, "),
            std::string::npos)
      << longer;
  EXPECT_NE(longer.find("by the new one of 20"), std::string::npos) << longer;
  EXPECT_EQ(same.find("jumps"), std::string::npos) << same;
}

TEST_F(Resume, RecordsOfARunMeanTheSameFromAnyWorkingFolder) {
  RunConfig config = tiny_run(folder.path(), "run");
  config.train.max_steps = 1;
  config.data.path = fs::relative(config.data.path);
  config.run_dir = fs::relative(config.run_dir);
  ASSERT_TRUE(config.data.path.is_relative());
  EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);
  world.barrier();

  const RunConfig recorded = load_run_config(folder.path() / "run" / "config.yaml");

  EXPECT_EQ(recorded.data.path, fs::absolute(config.data.path).lexically_normal());
  EXPECT_EQ(recorded.run_dir, fs::absolute(config.run_dir).lexically_normal());
}

TEST_F(Resume, StartsFromImportedWeights) {
  const RunConfig first = finished_run();
  RunConfig config = tiny_run(folder.path(), "second");
  config.train.max_steps = 1;
  config.model.width = 16;

  const auto fitted =
      import_weights(first.run_dir / "weights.safetensors", config, checkpoint(config, 0), world);
  world.barrier();

  if (world.rank() == 0) {
    EXPECT_TRUE(fitted.adapted.empty() && fitted.missing.empty() && fitted.skipped.empty());
  }
  Trainer trainer(config, world);
  EXPECT_EQ(trainer.first_step(), 0);
  const auto weights = checkpoint::read_safetensors(first.run_dir / "weights.safetensors");
  const auto parameters = trainer.model().named_parameters();
  for (const auto& [name, values] : weights.tensors) EXPECT_TRUE(at::equal(values, parameters[name])) << name;
  EXPECT_EQ(trainer.run(), ExitCode::done);
}

// To a file and to a checkpoint, which the ranks write together.
TEST_F(Resume, AnImportFillsWhatIsMissingAsInAFreshModel) {
  const RunConfig first = finished_run();
  const fs::path weights = first.run_dir / "weights.safetensors", file = folder.path() / "fitted.safetensors";
  RunConfig config = tiny_run(folder.path(), "deeper");
  config.model.depth = 3;
  config.seed = 9;

  const auto fitted = import_weights(weights, config, checkpoint(config, 0), world);
  import_weights(weights, config, file, world);
  world.barrier();

  EXPECT_FALSE(fitted.missing.empty());
  const auto fresh = build_model(config, signature_of(config, data::Description::read(config.data.path)));
  const auto stored = checkpoint::read_safetensors(weights), in_file = checkpoint::read_safetensors(file);
  Trainer trainer(config, world);
  const auto started = trainer.model().named_parameters();
  for (const auto& parameter : fresh->named_parameters()) {
    const std::string& name = parameter.key();
    const at::Tensor* known = stored.find(name);
    const at::Tensor expected = known == nullptr ? parameter.value() : *known;
    EXPECT_EQ(known == nullptr, name.starts_with("blocks.2.")) << name;
    ASSERT_NE(in_file.find(name), nullptr) << name;
    EXPECT_TRUE(at::equal(*in_file.find(name), expected)) << name;
    EXPECT_TRUE(at::equal(started[name], expected)) << name;
  }
}

TEST_F(Resume, ImportsToAFileOrTheFirstCheckpointOnly) {
  const RunConfig config = finished_run();

  EXPECT_THROW(import_weights(config.run_dir / "weights.safetensors", config, checkpoint(config, 5), world),
               UsageError);
  EXPECT_THROW(import_weights(config.run_dir / "weights.safetensors", config, checkpoint(config, 0), world),
               UsageError);
  EXPECT_TRUE(fs::exists(checkpoint(config, 12)));
}

std::vector<double> losses_of(const RunConfig& config) {
  std::vector<double> losses;
  for (const auto& line : lines_of(config.run_dir, "step")) losses.push_back(line.at("loss"));
  return losses;
}

// The first step of a momentum that begins at zero is one without momentum.
TEST_F(Resume, MomentumMayBeSwitchedOnAndOff) {
  for (const auto& [name, lr] :
       {std::pair<std::string, double>("sgd", 0.05), std::pair<std::string, double>("lars", 1.0)}) {
    RunConfig off = tiny_run(folder.path(), name);
    off.optimizer.name = name;
    off.optimizer.lr = lr;
    off.optimizer.momentum = 0.0;
    off.checkpoint = {.every_steps = 3, .keep_last = 9};
    RunConfig on = off, off_again = off;
    on.run_dir += "_on";
    on.resume = checkpoint(off, 6).string();
    on.optimizer.momentum = 0.9;
    off_again.run_dir += "_off_again";
    off_again.resume = checkpoint(on, 9).string();

    for (const RunConfig& config : {off, on, off_again}) {
      EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);
      world.barrier();
    }

    const auto without = losses_of(off), with = losses_of(on), after = losses_of(off_again);
    ASSERT_EQ(with.size(), 6U);
    ASSERT_EQ(after.size(), 3U);
    EXPECT_EQ(with[0], without[6]);
    EXPECT_EQ(with[1], without[7]);
    EXPECT_NE(with[2], without[8]);
    EXPECT_EQ(after[0], with[3]);
    EXPECT_NE(after[1], with[4]);
  }
}

// The ranks' clocks differ: when one says that it is time, all save.
TEST_F(Resume, AllRanksSaveWhenOneSaysThatItIsTime) {
  StepShare share;
  EXPECT_FALSE(sum_over_ranks(share, world).save);
  share.save = world.rank() == 0;
  const StepTotals totals = sum_over_ranks(share, world);

  EXPECT_TRUE(totals.save);
  EXPECT_FALSE(totals.stop);
}

TEST_F(Resume, RanksThatRanOtherUnitsAreToldOnEveryRank) {
  StepShare share;
  share.calls = 0x123456789abcdef0;
  EXPECT_NO_THROW(sum_over_ranks(share, world));
  if (world.rank() == 1) share.calls += 1 << 16;
  if (world.size() == 1) return;
  EXPECT_THROW(sum_over_ranks(share, world), Bug);
}

}  // namespace
}  // namespace cohort::train
