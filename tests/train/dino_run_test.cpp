// Runs of dino: what a checkpoint holds, exact resume, a loss that is not finite.
#include <limits>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/checkpoint/store.h"
#include "cohort/nn/vit.h"
#include "cohort/train/trainer.h"

#include "support/options.h"
#include "support/ranks.h"
#include "tiny_run.h"

namespace cohort::train {
namespace {

class DinoRun : public ::testing::Test {
 protected:
  DinoRun() { testing::write_tiny_dataset(folder.path() / "tiny", world); }

  RunConfig configuration(const std::string& name) const {
    RunConfig config = tiny_run(folder.path(), name);
    testing::set_options(config, {"method=dino", "dino.prototypes=32", "dino.hidden=16", "dino.bottleneck=8",
                                  "dino.teacher_momentum=0.9", "dino.teacher_temperature_epochs=3"});
    config.schedule.weight_decay_end = 0.4;
    config.optimizer.clip_norm = 3.0;
    config.optimizer.clip = shard::ClipScope::parameter;
    config.eval.every_epochs = 0;
    config.reproducible = true;
    return config;
  }

  comm::Communicator world = test::world();
  testing::SharedFolder folder{world};
};

TEST_F(DinoRun, ItsCheckpointHoldsStudentTeacherOptimizerAndCentre) {
  const RunConfig config = configuration("run");
  EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);
  world.barrier();

  const auto tensors = checkpoint::Store(config.run_dir / "checkpoints", world).contents(12).tensors;
  for (const std::string name :
       {"/student/backbone.blocks.1.attn.qkv.weight", "/teacher/backbone.blocks.1.attn.qkv.weight",
        "/student/head.last_layer.weight_v", "/teacher/head.last_layer.weight_v",
        "/optimizer/exp_avg/backbone.cls_token", "/method/centre"})
    EXPECT_TRUE(tensors.contains(name)) << name;
  const auto weights = checkpoint::read_safetensors(config.run_dir / "weights.safetensors");
  EXPECT_NE(weights.find("blocks.1.attn.qkv.weight"), nullptr);
  const auto first = lines_of(config.run_dir, "step").front();
  for (const char* metric : {"kl", "teacher_entropy", "centre_norm", "feature_std"})
    EXPECT_TRUE(first.contains(metric)) << metric;
  EXPECT_EQ(first.at("centre_norm"), 0.0);
}

// From step 6 on, with the first rank alone and with the others, whatever the strategy.
TEST_F(DinoRun, ResumesToTheSameBitsOnOtherRanksAndStrategies) {
  RunConfig config = configuration("run");
  config.sharding.strategy = shard::Strategy::full;
  EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);
  comm::Communicator part = world.split(world.rank() == 0 ? 0 : 1, "part");
  RunConfig resumed = configuration(world.rank() == 0 ? "first" : "others");
  resumed.resume = (config.run_dir / "checkpoints" / "step-00000006").string();

  Trainer trainer(resumed, part);
  ASSERT_EQ(trainer.first_step(), 6);
  EXPECT_EQ(trainer.run(), ExitCode::done);

  world.barrier();
  const auto whole = lines_of(config.run_dir, "step"), rest = lines_of(resumed.run_dir, "step");
  ASSERT_EQ(whole.size(), 12U);
  ASSERT_EQ(rest.size(), 6U);
  for (std::size_t i = 0; i < rest.size(); ++i) {
    for (const char* number : {"loss", "centre_norm", "grad_norm"})
      EXPECT_EQ(rest[i].at(number), whole[i + 6].at(number)) << number << " of step " << i + 7;
  }
  const auto expected = checkpoint::read_safetensors(config.run_dir / "weights.safetensors"),
             actual = checkpoint::read_safetensors(resumed.run_dir / "weights.safetensors");
  for (const auto& [name, values] : expected.tensors)
    EXPECT_TRUE(at::equal(values, *actual.find(name))) << name;
}

std::vector<std::string> without_speed(std::vector<nlohmann::json> lines) {
  std::vector<std::string> texts;
  for (nlohmann::json& line : lines) {
    line.erase("images_per_second");
    texts.push_back(line.dump());
  }
  return texts;
}

// Steps 6 and 12; the training of all ranks is full, those of the parts, from step 6 on, replicate.
TEST_F(DinoRun, NeighboursJudgeItAlikeOnOtherRanksAndStrategies) {
  RunConfig config = configuration("run");
  config.sharding.strategy = shard::Strategy::full;
  config.eval.every_epochs = 3;
  config.eval.neighbours = {3, 10};
  EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);
  comm::Communicator part = world.split(world.rank() == 0 ? 0 : 1, "part");
  RunConfig other = configuration(world.rank() == 0 ? "first" : "others");
  other.eval = config.eval;
  other.resume = (config.run_dir / "checkpoints" / "step-00000006").string();
  EXPECT_EQ(Trainer(other, part).run(), ExitCode::done);

  world.barrier();
  EXPECT_EQ(steps_of(config.run_dir, "features"), "6 12 ");
  EXPECT_EQ(steps_of(config.run_dir, "evaluation"), "6 6 12 12 ");
  for (const char* kind : {"features", "evaluation"})
    EXPECT_EQ(without_speed(lines_of(config.run_dir, kind)), without_speed(lines_of(other.run_dir, kind)));
  const auto last = lines_of(config.run_dir, "evaluation").back();
  EXPECT_EQ(last.at("classifier"), "knn k=10");
  EXPECT_EQ(last.at("images"), testing::kTinyTest);
  EXPECT_GT(lines_of(config.run_dir, "features").back().at("effective_rank").get<double>(), 1.0);
}

TEST_F(DinoRun, MoreNeighboursThanImagesAreRefused) {
  RunConfig config = configuration("run");
  config.eval.neighbours = {testing::kTinyTrain + 1};
  try {
    const Trainer trainer(config, world);
    FAIL() << "97 of 96 images";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("asks for 97 neighbours, but only 96 images of split 'train'"),
              std::string::npos)
        << error.what();
  }
}

/// The dataset without its labels, and without some of its splits.
void strip_dataset(const std::filesystem::path& folder, std::size_t splits, comm::Communicator& ranks) {
  ranks.barrier();
  if (ranks.rank() == 0) {
    data::Description description = data::Description::read(folder);
    description.labels.clear();
    description.splits.resize(splits);
    description.write(folder);
  }
  ranks.barrier();
}

TEST_F(DinoRun, WithoutLabelsFeaturesAreDescribedAndContextsJudgeThem) {
  strip_dataset(folder.path() / "tiny", 2, world);
  RunConfig config = configuration("described");
  config.train.max_steps = 2;
  config.eval.neighbours = {3};
  EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);
  RunConfig judged = configuration("judged");
  judged.train.max_steps = 2;
  judged.eval = config.eval;
  judged.eval.neighbours_of = "site";
  EXPECT_EQ(Trainer(judged, world).run(), ExitCode::done);

  world.barrier();
  EXPECT_EQ(steps_of(config.run_dir, "features"), "2 ");
  EXPECT_EQ(steps_of(config.run_dir, "evaluation"), "");
  EXPECT_EQ(lines_of(config.run_dir, "features"), lines_of(judged.run_dir, "features"));
  const auto lines = lines_of(judged.run_dir, "evaluation");
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].at("split"), "test");
  EXPECT_EQ(lines[0].at("label"), "site");
  EXPECT_EQ(lines[0].at("classifier"), "knn k=3 of site");
  EXPECT_EQ(lines[0].at("classes").size(), 6U);
  EXPECT_EQ(lines[0].at("images"), testing::kTinyTest);
}

// 96 images, each judged by the 95 others.
TEST_F(DinoRun, ASingleSplitJudgesItself) {
  strip_dataset(folder.path() / "tiny", 1, world);
  RunConfig config = configuration("run");
  config.train.max_steps = 2;
  config.eval.neighbours = {testing::kTinyTrain - 1};
  config.eval.neighbours_of = "site";
  EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);

  world.barrier();
  const auto lines = lines_of(config.run_dir, "evaluation");
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].at("split"), "train");
  EXPECT_EQ(lines[0].at("images"), testing::kTinyTrain);
  config.run_dir = folder.path() / "too_many";
  config.eval.neighbours = {testing::kTinyTrain};
  EXPECT_THROW(Trainer(config, world), UsageError);
}

// Its images are not their own neighbours, as which every one of them would be judged right.
TEST_F(DinoRun, TheTrainingSplitBesideAnotherJudgesItself) {
  RunConfig config = configuration("run");
  config.train.max_steps = 2;
  config.eval.neighbours = {1};
  config.eval.neighbours_of = "site";
  config.eval.splits = {"train", "test"};
  EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);

  world.barrier();
  const auto lines = lines_of(config.run_dir, "evaluation");
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].at("split"), "train");
  EXPECT_LT(lines[0].at("accuracy").get<double>(), 1.0);
  config.run_dir = folder.path() / "too_many";
  config.eval.neighbours = {testing::kTinyTrain};
  EXPECT_THROW(Trainer(config, world), UsageError);
}

TEST_F(DinoRun, UnknownColumnsAreRefusedWithAName) {
  RunConfig config = configuration("run");
  config.eval.neighbours = {3};
  config.eval.neighbours_of = "sit";
  try {
    const Trainer trainer(config, world);
    FAIL() << "there is no such column";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'site'?"), std::string::npos) << error.what();
  }
}

TEST_F(DinoRun, TrainsInBf16AndInMicroBatches) {
  RunConfig config = configuration("bf16");
  config.reproducible = false;
  config.train.micro_batches = world.size() == 4 ? 3 : 2;
  config.precision = Precision::bf16;
  config.train.max_steps = 2;
  EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);
  world.barrier();
  const auto weights = checkpoint::read_safetensors(config.run_dir / "weights.safetensors");
  for (const auto& [name, values] : weights.tensors)
    EXPECT_TRUE(at::isfinite(values).all().item<bool>()) << name;
}

TEST_F(DinoRun, ALossThatIsNotFiniteEndsItAndLeavesTheLastGoodCheckpoint) {
  RunConfig config = configuration("run");
  config.train.max_steps = 6;
  EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);
  world.barrier();
  config.train.max_steps = 9;
  Trainer trainer(config, world);
  {
    const at::NoGradGuard no_gradients;
    trainer.model().parameters().front().fill_(std::numeric_limits<float>::quiet_NaN());
  }

  try {
    trainer.run();
    FAIL() << "training went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::numerical);
    EXPECT_NE(std::string(error.what()).find("step 7"), std::string::npos) << error.what();
  }
  EXPECT_EQ(checkpoint::Store(config.run_dir / "checkpoints", world).latest(), 6);
}

TEST_F(DinoRun, MakesTheSameViewsWhereTheModelComputes) {
  std::vector<std::string> losses;
  for (const bool on_device : {false, true}) {
    RunConfig config = configuration(on_device ? "device" : "threads");
    config.augment.on_device = on_device;
    config.augment.whole.crop_scale_min = 0.5;
    config.augment.whole.brightness = 0.3;
    config.train.max_steps = 3;
    EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);
    world.barrier();
    std::string& of_run = losses.emplace_back();
    for (const auto& line : lines_of(config.run_dir, "step")) of_run += line.at("loss").dump() + " ";
  }
  EXPECT_EQ(losses[0], losses[1]);
}

}  // namespace
}  // namespace cohort::train
