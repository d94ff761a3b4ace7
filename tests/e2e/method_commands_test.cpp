// The commands on runs of methods that learn no classes: what of a run they take, and what they say where
// there is nothing to take.
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "run_commands.h"

namespace cohort {
namespace {

using test::Outcome;

std::string without_rate(const std::string& text) {
  return text.substr(0, text.find("images_per_second"));
}

class MaskedCommands : public e2e::RunCommands {
 protected:
  static void SetUpTestSuite() {
    train("method=mae mae.decoder_width=16 mae.decoder_depth=1 mae.decoder_heads=2 mae.mask_ratio=0.5");
  }
};

TEST_F(MaskedCommands, FeaturesAreJudgedAlikeOnAnyNumberOfRanks) {
  for (const std::string& command : {std::string("knn --k 5"), std::string("probe --epochs 2 --lr 0.1")}) {
    const auto on = [&](int ranks) {
      expect_done(run(ranks, fmt::format("{} --overwrite --run {} --split test --out {}", command,
                                         run_folder(), place("scores.jsonl"))));
      return without_rate(written("scores.jsonl"));
    };
    EXPECT_EQ(on(1), on(3)) << command;
  }
}

TEST_F(MaskedCommands, TheEncoderIsExtractedShownAndExported) {
  expect_done(
      run(2, fmt::format("extract --run {} --split test --out {}", run_folder(), place("features.csv"))));
  EXPECT_NE(written("features.csv").find("features_0047"), std::string::npos);
  expect_done(run(2, fmt::format("explain --run {} --split test --out {}", run_folder(), place("shown"))));
  expect_done(run(1, fmt::format("checkpoint export {} --out {}", run_folder(), place("out.safetensors"))));
  EXPECT_EQ(written("out.safetensors"), written("run/weights.safetensors"));
  EXPECT_EQ(written("out.safetensors").find("decoder"), std::string::npos);
}

TEST_F(MaskedCommands, AClassifierStartsFromTheEncoder) {
  const Outcome tuned =
      run(2, fmt::format("finetune {} --from {} run_dir={} train.max_steps=1 model.pooling=mean", config(),
                         run_folder(), place("tuned")));
  expect_done(tuned);
  EXPECT_FALSE(tuned.says("decoder")) << tuned.output;
}

TEST_F(MaskedCommands, WhatItCannotDoIsSaidOnce) {
  expect_refused(fmt::format("eval --run {} --split test", run_folder()),
                 "the model has no head to score: mae learns no classes");
  expect_refused(
      fmt::format("extract --run {} --split test --part teacher --out {}", run_folder(), place("teacher.h5")),
      "teacher");
}

class TwoViewCommands : public e2e::RunCommands {
 protected:
  static void SetUpTestSuite() { train("method=byol byol.hidden=16 byol.outputs=8"); }
};

TEST_F(TwoViewCommands, TheAverageOfTheNetworkIsThereToo) {
  for (const char* part : {"online", "target"}) {
    expect_done(run(2, fmt::format("extract --run {} --split test --part {} --out {}", run_folder(), part,
                                   place(std::string(part) + ".csv"))));
  }
  EXPECT_NE(written("online.csv"), written("target.csv"));
}

}  // namespace
}  // namespace cohort
