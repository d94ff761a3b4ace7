// Runs whose numbers go wrong: an image that is not a number, steps that are left out, weights that go back.
#include "train/numerics.h"

#include <cstring>
#include <filesystem>
#include <limits>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/nn/encoder.h"
#include "cohort/train/trainer.h"

#include "support/ranks.h"
#include "tiny_run.h"

namespace cohort::train {
namespace {

namespace fs = std::filesystem;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr const char* kBadImage = "1-2-07";

/// The tiny dataset in f32, one pixel of which is not a number. The first split, whose statistics the dataset
/// has, is without it.
void write_dataset_with_a_bad_image(const fs::path& folder, comm::Communicator& ranks) {
  data::Description description = testing::tiny_description();
  description.images.type = data::PixelType::f32;
  description.splits = {{"calibration", {}}, {"train", {}}, {"test", {}}};
  std::vector<data::Row> rows;
  for (std::int32_t i = 0; i < 8; ++i) rows.push_back({fmt::format("c{}", i), 0, {i % 2}, {0}});
  for (data::Row row : testing::tiny_rows()) {
    row.id = fmt::format("{}{}", row.split + 1, row.id.substr(1));
    ++row.split;
    rows.push_back(row);
  }
  const auto pixels = [&](std::int64_t index, std::span<std::byte> out) {
    const data::Row& row = rows[static_cast<std::size_t>(index)];
    RandomStream random({.seed = 3, .purpose = Purpose::synthetic, .sample = index});
    std::vector<float> values(out.size() / sizeof(float));
    for (float& value : values) value = static_cast<float>(random.uniform(0.0, 1.0 + row.labels.front()));
    if (row.id == kBadImage) values[5] = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(out.data(), values.data(), out.size());
  };
  (void)data::write_dataset(folder, description, rows, pixels, {}, ranks);
}

class NumericsRun : public ::testing::Test {
 protected:
  NumericsRun() { write_dataset_with_a_bad_image(folder.path() / "tiny", world); }

  RunConfig run_config(const std::string& name, OnTrouble policy) {
    RunConfig config = tiny_run(folder.path(), name);
    config.checkpoint.every_steps = 1;
    config.checkpoint.keep_last = 100;
    config.eval.every_epochs = 0;
    config.eval.splits = {"test"};
    config.numerics.on_trouble = policy;
    config.data.normalisation = augment::Normalisation::image;
    return config;
  }

  std::string refusal(const RunConfig& config) {
    Trainer trainer(config, world);
    try {
      trainer.run();
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::numerical) << error.what();
      return error.what();
    }
    return "nothing was refused";
  }

  void finish(const RunConfig& config) {
    EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);
    world.barrier();
  }

  void forget_steps_after(const RunConfig& config, int last) {
    if (world.rank() == 0) {
      for (int step = last + 1; step <= 12; ++step)
        fs::remove_all(config.run_dir / "checkpoints" / fmt::format("step-{:08}", step));
    }
    world.barrier();
  }

  void expect_equal_weights(const RunConfig& a, const RunConfig& b) {
    const auto other = checkpoint::read_safetensors(b.run_dir / "weights.safetensors");
    for (const auto& [name, values] :
         checkpoint::read_safetensors(a.run_dir / "weights.safetensors").tensors) {
      EXPECT_TRUE(at::isfinite(values).all().item<bool>()) << name;
      EXPECT_TRUE(at::equal(values, *other.find(name))) << name;
    }
    world.barrier();
  }

  comm::Communicator world = test::world();
  testing::SharedFolder folder{world};
};

TEST_F(NumericsRun, StopsAndNamesTheImage) {
  const std::string message = refusal(run_config("run", OnTrouble::stop));
  EXPECT_NE(message.find("the loss is not finite"), std::string::npos) << message;
  EXPECT_NE(message.find(fmt::format("image '{}' of rank ", kBadImage)), std::string::npos) << message;
  EXPECT_NE(message.find("it is so again when the step is repeated"), std::string::npos) << message;
}

// Every epoch of two steps has the image once.
TEST_F(NumericsRun, LeavesBadStepsOutAndResumesToTheSameBits) {
  const RunConfig calm = run_config("calm", OnTrouble::skip), broken = run_config("broken", OnTrouble::skip);
  finish(calm);
  finish(broken);
  forget_steps_after(broken, 5);
  finish(broken);

  expect_equal_weights(calm, broken);
  for (const RunConfig& config : {calm, broken}) {
    EXPECT_EQ(lines_of(config.run_dir, "trouble").size(), 6U);
    EXPECT_EQ(lines_of(config.run_dir, "step").size(), 6U);
    const auto first = lines_of(config.run_dir, "trouble").front();
    EXPECT_EQ(first.at("image"), kBadImage);
    EXPECT_EQ(first.at("action"), "skip");
    EXPECT_EQ(first.at("repeats"), true);
  }
}

// With a checkpoint after each step, the weights before the bad step are those of the last checkpoint.
TEST_F(NumericsRun, GoesBackToTheLastCheckpoint) {
  const RunConfig skips = run_config("skips", OnTrouble::skip);
  RunConfig goes_back = run_config("back", OnTrouble::skip);
  finish(skips);
  finish(goes_back);
  forget_steps_after(goes_back, 3);
  goes_back.numerics.on_trouble = OnTrouble::rollback;
  finish(goes_back);

  expect_equal_weights(skips, goes_back);
  EXPECT_EQ(lines_of(goes_back.run_dir, "trouble").back().at("action"), "rollback");
}

TEST_F(NumericsRun, WithoutACheckpointItCannotGoBack) {
  RunConfig config = run_config("run", OnTrouble::rollback);
  config.checkpoint.every_steps = 0;
  const std::string message = refusal(config);
  EXPECT_NE(message.find("there is no checkpoint to go back to"), std::string::npos) << message;
}

TEST_F(NumericsRun, EndsAfterTooManyBadStepsInARow) {
  RunConfig config = run_config("run", OnTrouble::skip);
  config.numerics.most_in_a_row = 3;
  Trainer trainer(config, world);
  {
    const at::NoGradGuard no_gradients;
    trainer.model().parameters().front().fill_(static_cast<float>(kNaN));
  }
  EXPECT_THROW(trainer.run(), NumericalError);
  world.barrier();
  if (world.rank() == 0) {
    const auto troubles = lines_of(config.run_dir, "trouble");
    ASSERT_EQ(troubles.size(), 3U);
    EXPECT_EQ(troubles.back().at("rank"), 0);
  }
}

TEST_F(NumericsRun, AGradientFarAboveTheUsualIsATroubleToo) {
  testing::write_tiny_dataset(folder.path() / "good", world);
  RunConfig config = run_config("run", OnTrouble::stop);
  config.data.path = folder.path() / "good";
  config.train.max_steps = 20;
  config.numerics.spike = 1e-3;  // every gradient is: as soon as there are 16 to compare with
  const std::string message = refusal(config);
  EXPECT_NE(message.find("step 17: the gradient norm "), std::string::npos) << message;
  EXPECT_NE(message.find(" times the usual "), std::string::npos) << message;
}

// The norms to compare with are part of a checkpoint.
TEST_F(NumericsRun, ComparesWithTheSameNormsAfterAResume) {
  testing::write_tiny_dataset(folder.path() / "good", world);
  RunConfig config = run_config("run", OnTrouble::stop);
  config.data.path = folder.path() / "good";
  config.train.max_steps = 20;
  config.numerics.spike = 1e6;
  finish(config);
  forget_steps_after(config, 0);
  if (world.rank() == 0) {
    for (int step = 18; step <= 20; ++step)
      fs::remove_all(config.run_dir / "checkpoints" / fmt::format("step-{:08}", step));
  }
  world.barrier();
  config.numerics.spike = 1e-3;
  const std::string message = refusal(config);
  EXPECT_NE(message.find("step 18: the gradient norm "), std::string::npos) << message;
}

TEST(NumericsGuardTest, TakesTheMedianOfTheLastNorms) {
  NumericsConfig config;
  config.spike = 3.0;
  NumericsGuard guard(config);
  for (int i = 0; i < 15; ++i) guard.passed(1.0);
  EXPECT_EQ(guard.judge(0.5, 1e9), Trouble::none);  // too few to compare with
  guard.passed(100.0);
  EXPECT_EQ(guard.usual_norm(), 1.0);
  EXPECT_EQ(guard.judge(0.5, 2.9), Trouble::none);
  EXPECT_EQ(guard.judge(0.5, 3.1), Trouble::spike);
  EXPECT_EQ(guard.judge(kNaN, 1.0), Trouble::not_finite);
  EXPECT_EQ(guard.judge(0.5, kNaN), Trouble::not_finite);
  for (int i = 0; i < 64; ++i) guard.passed(2.0);
  EXPECT_EQ(guard.judge(0.5, 3.1), Trouble::none);  // the first ones are forgotten
}

TEST(CauseTest, ALossThatIsAnotherTheSecondTimePointsToTheHardwareOfItsRank) {
  comm::Communicator world = test::world();
  const auto ranks = static_cast<std::size_t>(world.size());
  StepTotals first, again;
  first.losses.assign(2 * ranks, 0.25);  // two backward passes on each rank
  again = first;
  first.losses.back() = kNaN;

  const Cause cause = cause_of(first, again, false, {}, world);

  EXPECT_FALSE(cause.repeats);
  EXPECT_EQ(cause.rank, world.size() - 1);
  const std::string text = cause_text(cause);
  EXPECT_NE(text.find(fmt::format("rank {} on ", world.size() - 1)), std::string::npos) << text;
  EXPECT_NE(text.find("suspect the hardware"), std::string::npos) << text;
}

TEST(CauseTest, NamesTheFirstRankWithABadGradientOfItsOwn) {
  comm::Communicator world = test::world();
  StepTotals totals;
  totals.losses.assign(static_cast<std::size_t>(world.size()), 0.25);
  Findings mine;
  if (world.rank() == world.size() - 1) mine.gradient = "blocks.1.attn.qkv.weight";

  const Cause cause = cause_of(totals, totals, true, mine, world);

  EXPECT_EQ(cause.rank, world.size() - 1);
  EXPECT_NE(cause_text(cause).find("first in the gradient of blocks.1.attn.qkv.weight on rank"),
            std::string::npos);
}

}  // namespace
}  // namespace cohort::train
