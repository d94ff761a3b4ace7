// Runs of the masked autoencoder: its pictures, also in the narrow numbers and shards that a step has.
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cohort/core/file.h"
#include "cohort/train/trainer.h"

#include "support/options.h"
#include "support/ranks.h"
#include "tiny_run.h"

namespace cohort::train {
namespace {

class MaeRun : public ::testing::Test {
 protected:
  MaeRun() { testing::write_tiny_dataset(folder.path() / "tiny", world); }

  RunConfig config(const std::vector<std::string>& more) const {
    RunConfig config = tiny_run(folder.path(), "run");
    testing::set_options(config, {"method=mae", "mae.mask_ratio=0.5", "mae.decoder_width=8",
                                  "mae.decoder_depth=1", "mae.decoder_heads=2", "eval.neighbours=[5]"});
    testing::set_options(config, more);
    return config;
  }

  comm::Communicator world = test::world();
  testing::SharedFolder folder{world};
};

TEST_F(MaeRun, ShowsImagesAtEveryEvaluationAndAtTheEnd) {
  const RunConfig config = this->config({"train.max_steps=8"});
  EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);
  world.barrier();

  EXPECT_EQ(steps_of(config.run_dir, "pictures"), "6 8 ");
  EXPECT_NE(lines_of(config.run_dir, "pictures").back().at("caption").get<std::string>().find("decoder"),
            std::string::npos);
  EXPECT_TRUE(read_file(config.run_dir / "pictures.png").starts_with("\x89PNG"));
}

TEST_F(MaeRun, ComputesInNarrowNumbersFromShards) {
  const RunConfig config =
      this->config({"train.max_steps=2", "precision=bf16", "sharding.strategy=full", "sharding.gather=bf16",
                    "sharding.reduce=bf16", "sharding.activation_checkpointing=true"});
  EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);
  world.barrier();

  EXPECT_EQ(steps_of(config.run_dir, "pictures"), "2 ");
  EXPECT_TRUE(std::filesystem::exists(config.run_dir / "weights.safetensors"));
}

TEST_F(MaeRun, AMethodThatHasNothingToShowLeavesNoPicture) {
  const RunConfig config = this->config({"method=supervised", "train.max_steps=2", "eval.neighbours=[]"});
  EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);
  world.barrier();

  EXPECT_FALSE(std::filesystem::exists(config.run_dir / "pictures.png"));
}

}  // namespace
}  // namespace cohort::train
