// The commands on a run of a residual network: what they do, and what they say where they cannot.
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "run_commands.h"

namespace cohort {
namespace {

using test::Outcome;

class EncoderCommands : public e2e::RunCommands {
 protected:
  static void SetUpTestSuite() { train(kResNet); }

  static constexpr const char* kResNet = "model.name=resnet18 model.resnet.width=4 context.keys=[]";
};

TEST_F(EncoderCommands, TheRunSaysWhatItTrains) {
  EXPECT_TRUE(trained_.says("resnet18: width 32, 8 blocks, batch norm group")) << trained_.output;
  EXPECT_FALSE(trained_.says("vision transformer")) << trained_.output;
}

TEST_F(EncoderCommands, ScoresAndFeaturesAreTheSameOnAnyNumberOfRanks) {
  for (const std::string& command :
       {std::string("eval"), std::string("knn --k 5"), std::string("probe --epochs 2 --lr 0.1")}) {
    const std::string name = command.substr(0, command.find(' ')) + ".jsonl";
    const auto on = [&](int ranks) {
      const Outcome outcome = run(ranks, fmt::format("{} --overwrite --run {} --split test --out {}", command,
                                                     run_folder(), place(name)));
      EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
      const std::string text = written(name);
      return text.substr(0, text.find("images_per_second"));
    };
    EXPECT_EQ(on(1), on(2)) << command;
  }
  const Outcome extract =
      run(2, fmt::format("extract --run {} --split test --out {}", run_folder(), place("features.csv")));
  EXPECT_EQ(extract.exit_code, 0) << extract.output;
  EXPECT_NE(written("features.csv").find("features_0031"), std::string::npos);
  EXPECT_EQ(written("features.csv").find("features_0032"), std::string::npos);
}

TEST_F(EncoderCommands, WeightsGoOutAndInWithTheirRunningStatistics) {
  const Outcome out = run(
                    1, fmt::format("checkpoint export {} --out {}", run_folder(), place("out.safetensors"))),
                in =
                    run(1, fmt::format("checkpoint import {} --config {} {} --out {}",
                                       place("out.safetensors"), config(), kResNet, place("in.safetensors")));
  EXPECT_EQ(out.exit_code, 0) << out.output;
  EXPECT_EQ(in.exit_code, 0) << in.output;
  EXPECT_EQ(written("out.safetensors"), written("run/weights.safetensors"));
  EXPECT_NE(written("out.safetensors").find("layer1.0.bn1.running_var"), std::string::npos);
  EXPECT_FALSE(in.says("missing, random values instead")) << in.output;
  const Outcome eval = run(1, fmt::format("eval --overwrite --run {} --split test --out {}", run_folder(),
                                          place("of_run.jsonl"))),
                again =
                    run(1, fmt::format("eval --overwrite --weights {} --model {}/config.yaml --split test "
                                       "--out {}",
                                       place("in.safetensors"), run_folder(), place("of_file.jsonl")));
  EXPECT_EQ(again.exit_code, 0) << again.output;
  const auto scores = [&](const std::string& text) {
    return text.substr(text.find("\"accuracy\""), text.find("images_per_second") - text.find("\"accuracy\""));
  };
  EXPECT_EQ(scores(written("of_run.jsonl")), scores(written("of_file.jsonl")));
}

TEST_F(EncoderCommands, FinetuneStartsFromItsWeights) {
  const Outcome outcome =
      run(2, fmt::format("finetune {} --from {} run_dir={} train.max_steps=1 context.keys=[]", config(),
                         run_folder(), place("tuned")));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_TRUE(outcome.says("resnet18: width 32")) << outcome.output;
}

TEST_F(EncoderCommands, ExplanationsAndTheirScoresAreTheSameOnAnyNumberOfRanks) {
  const auto on = [&](int ranks) {
    const std::string folder = fmt::format("explained_{}", ranks);
    const Outcome outcome = run(
        ranks, fmt::format("explain --run {} --split test --images 2 --neighbours 0 --score adcc,deletion "
                           "--score-images 5 --steps 8 --out {}",
                           run_folder(), place(folder)));
    expect_done(outcome);
    EXPECT_TRUE(outcome.says("adcc_of_means")) << outcome.output;
    return written(folder + "/explain.json") + written(folder + "/scores.jsonl") +
           written(folder + "/maps.safetensors");
  };
  EXPECT_EQ(on(1), on(3));
}

TEST_F(EncoderCommands, WhatItCannotDoIsSaidOnce) {
  expect_refused("explain --block 5 --run " + run_folder(), "the model has no stage 5 from the end");
  const std::string extract =
      fmt::format("extract --run {} --split test --out {} ", run_folder(), place("t.h5"));
  expect_refused(extract + "--layer 1", "a residual network has no tokens");
  expect_refused(extract + "--patch-tokens", "a residual network has no tokens");
  const std::string train = fmt::format("train {} run_dir={} {} ", config(), place("other"), kResNet);
  expect_refused(train + "context.keys=[context]",
                 "context.keys is for vision transformers alone, and the model is a resnet18");
  expect_refused(train + "model.family=channelvit model.registers=2",
                 "model.family, model.registers are for vision transformers alone");
  expect_refused(train + "model.name=resnet19", "did you mean 'resnet18'?");
  expect_refused(fmt::format("train {} run_dir={} model.resnet.stem=small", config(), place("other")),
                 "model.resnet.stem is for residual networks alone");
}

}  // namespace
}  // namespace cohort
