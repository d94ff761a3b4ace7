// cohort knn and cohort probe on a model that dino trained.
#include <filesystem>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/file.h"

#include "support/spawn.h"
#include "support/temporary_folder.h"

namespace cohort {
namespace {

namespace fs = std::filesystem;
using test::Outcome;

const fs::path kRoot = fs::path(COHORT_TEST_DATA) / "..";

/// One short run for all tests.
class FeatureCommands : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<testing::TemporaryFolder>();
    trained_ = run(
        2, fmt::format("train {} data.path={} run_dir={} method=dino dino.prototypes=16 train.max_steps=4 {}",
                       (kRoot / "configs" / "tests" / "nuclei.yaml").string(),
                       (fs::path(COHORT_TEST_DATA) / "data" / "nuclei").string(), run_folder(), kSmallHead));
  }
  static void TearDownTestSuite() { folder_.reset(); }
  void SetUp() override { ASSERT_EQ(trained_.exit_code, 0) << trained_.output; }

  static std::string run_folder() { return (folder_->path() / "run").string(); }
  static Outcome run(int ranks, const std::string& command) {
    return test::spawn_ranks(COHORT_MPIEXEC, ranks, fmt::format("{} {}", COHORT_PROGRAM, command), 120);
  }
  static std::string written(const std::string& name) { return read_file(folder_->path() / name); }
  static std::string out(const std::string& name) { return " --out " + (folder_->path() / name).string(); }

  static constexpr const char* kSmallHead = "dino.hidden=32 dino.bottleneck=16";
  static inline std::unique_ptr<testing::TemporaryFolder> folder_;
  static inline Outcome trained_;
};

TEST_F(FeatureCommands, KnnScoresEverySplitForEveryKAlikeOnAnyNumberOfRanks) {
  const std::string command = "knn --run " + run_folder() + " --k 1,5";

  const Outcome one = run(1, command + out("one.jsonl")), three = run(3, command + out("three.jsonl"));

  EXPECT_EQ(one.exit_code, 0) << one.output;
  EXPECT_EQ(three.exit_code, 0) << three.output;
  EXPECT_TRUE(one.says("knn k=5")) << one.output;
  const std::string lines = written("one.jsonl");
  EXPECT_NE(lines.find(R"("classifier":"knn k=1")"), std::string::npos) << lines;
  EXPECT_NE(lines.find(R"("step":4)"), std::string::npos) << lines;
  const auto accuracies = [](const std::string& text) {
    std::string found;
    for (std::size_t at = text.find("\"accuracy\""); at != std::string::npos;
         at = text.find("\"accuracy\"", at + 1))
      found += text.substr(at, 16);
    return found;
  };
  EXPECT_EQ(accuracies(lines), accuracies(written("three.jsonl")));
}

TEST_F(FeatureCommands, ProbeChoosesARateAndSavesTheClassifier) {
  const fs::path file = folder_->path() / "probe.safetensors";

  const Outcome outcome =
      run(2, fmt::format("probe --run {} --epochs 20 --lr 0.01,0.1 --kind mlp --hidden 8 --save {}{}",
                         run_folder(), file.string(), out("probe.jsonl")));

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(outcome.occurrences("chosen by "), 1) << outcome.output;
  EXPECT_NE(written("probe.jsonl").find(R"("classifier":"probe lr=0.)"), std::string::npos);
  const std::string saved = read_file(file);
  for (const char* name : {"layers.0.weight", "layers.1.bias", "mean", "scale"})
    EXPECT_NE(saved.find(name), std::string::npos) << name;
}

TEST_F(FeatureCommands, ARateThatDivergesIsLeftOut) {
  const Outcome some = run(2, "probe --run " + run_folder() + " --raw --epochs 30 --lr 1e38,0.01");
  EXPECT_EQ(some.exit_code, 0) << some.output;
  EXPECT_EQ(some.occurrences("the classifier of --lr 1e+38 diverged and is left out"), 1) << some.output;

  const Outcome all = run(2, "probe --run " + run_folder() + " --raw --epochs 30 --lr 1e38");
  EXPECT_EQ(all.exit_code, 4) << all.output;
  EXPECT_EQ(all.occurrences("the classifiers of all learning rates diverged"), 1) << all.output;
}

TEST_F(FeatureCommands, WhatCannotBeDoneIsSaidOnce) {
  const Outcome neighbours = run(2, "knn --run " + run_folder() + " --k 100000");
  EXPECT_EQ(neighbours.exit_code, 2) << neighbours.output;
  EXPECT_EQ(neighbours.occurrences("100000 neighbours are asked for"), 1) << neighbours.output;

  const Outcome split = run(2, "probe --run " + run_folder() + " --select-on tset --epochs 1");
  EXPECT_EQ(split.exit_code, 2) << split.output;
  EXPECT_EQ(split.occurrences("'tset' is none of the splits that are scored"), 1) << split.output;
}

}  // namespace
}  // namespace cohort
