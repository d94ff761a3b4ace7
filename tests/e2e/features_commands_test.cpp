// cohort knn and cohort probe on a model that dino trained.
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cohort/checkpoint/safetensors.h"
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
        2, fmt::format("train {} data.path={} run_dir={} method=dino dino.prototypes=16 train.max_steps=4 "
                       "eval.neighbours=[1,5] {}",
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

/// The evaluation lines of a file, without what depends on time and on the epoch.
std::vector<nlohmann::json> evaluations_in(const std::string& text) {
  std::vector<nlohmann::json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    auto json = nlohmann::json::parse(line);
    for (const char* key : {"images_per_second", "epoch"}) json.erase(key);
    if (json.at("kind") == "evaluation") lines.push_back(std::move(json));
  }
  return lines;
}

TEST_F(FeatureCommands, KnnScoresEverySplitForEveryKAlikeOnAnyNumberOfRanks) {
  const std::string command = "knn --run " + run_folder() + " --k 1,5";

  const Outcome one = run(1, command + out("one.jsonl")), three = run(3, command + out("three.jsonl"));

  EXPECT_EQ(one.exit_code, 0) << one.output;
  EXPECT_EQ(three.exit_code, 0) << three.output;
  EXPECT_TRUE(one.says("knn k=5")) << one.output;
  const std::string lines = written("one.jsonl");
  EXPECT_NE(lines.find(R"("classifier":"knn k=1")"), std::string::npos) << lines;
  EXPECT_NE(lines.find(R"("step":4)"), std::string::npos) << lines;
  EXPECT_EQ(evaluations_in(lines), evaluations_in(written("three.jsonl")));
}

TEST_F(FeatureCommands, ProbeChoosesARateAndSavesTheClassifier) {
  const fs::path file = folder_->path() / "probe.safetensors";

  const Outcome outcome =
      run(2, fmt::format("probe --run {} --epochs 20 --lr 0.01,0.1 --kind mlp --hidden 8 --save {}{}",
                         run_folder(), file.string(), out("probe.jsonl")));

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(outcome.occurrences("chosen by "), 1) << outcome.output;
  EXPECT_NE(written("probe.jsonl").find(R"("classifier":"mlp probe")"), std::string::npos);
  EXPECT_NE(written("probe.jsonl").find(R"("detail":"lr=0.)"), std::string::npos);
  const std::string saved = read_file(file);
  for (const char* name : {"layers.0.weight", "layers.1.bias", "mean", "scale"})
    EXPECT_NE(saved.find(name), std::string::npos) << name;
}

TEST_F(FeatureCommands, KnnSaysWhatTrainingSaidAndReportsShowIt) {
  const Outcome outcome = run(2, "knn --run " + run_folder() + " --k 1,5");

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  const auto judged = evaluations_in(written("run/knn.jsonl"));
  EXPECT_GE(judged.size(), 2U);
  EXPECT_EQ(judged, evaluations_in(written("run/metrics.jsonl")));
  const Outcome report = run(1, "report " + run_folder());
  EXPECT_TRUE(report.says(", knn k=5")) << report.output;
}

TEST_F(FeatureCommands, ReportsShowThePicturesOfErrorsWhereTheDatasetIs) {
  const Outcome there = run(1, "report " + run_folder() + out("gallery.html"));
  EXPECT_EQ(there.exit_code, 0) << there.output;
  EXPECT_NE(written("gallery.html").find("src=\"data:image/jpeg;base64,/9j/"), std::string::npos);

  const fs::path config = fs::path(run_folder()) / "config.yaml";
  const std::string before = read_file(config);
  std::string elsewhere = before;
  elsewhere.replace(elsewhere.find("data/nuclei"), 11, "data/moved");
  write_file_atomically(config, elsewhere);
  const Outcome moved = run(1, "report " + run_folder() + out("table.html"));
  write_file_atomically(config, before);
  EXPECT_EQ(moved.exit_code, 0) << moved.output;
  EXPECT_EQ(written("table.html").find("image/jpeg"), std::string::npos);
  EXPECT_NE(written("table.html").find("Images to look at"), std::string::npos);
}

TEST_F(FeatureCommands, ContextsJudgeFeaturesToo) {
  const Outcome knn = run(2, "knn --run " + run_folder() + " --k 5 --of context" + out("of.jsonl")),
                probe = run(
                    2, "probe --run " + run_folder() + " --epochs 1 --of context" + out("of_probe.jsonl"));

  EXPECT_EQ(knn.exit_code, 0) << knn.output;
  EXPECT_TRUE(knn.says(", knn k=5 of context")) << knn.output;
  EXPECT_EQ(probe.exit_code, 0) << probe.output;
  EXPECT_TRUE(probe.says(", linear probe of context")) << probe.output;
}

TEST_F(FeatureCommands, ARateThatDivergesIsLeftOut) {
  const Outcome some = run(2, "probe --run " + run_folder() + " --raw --epochs 30 --lr 1e38,0.01");
  EXPECT_EQ(some.exit_code, 0) << some.output;
  EXPECT_EQ(some.occurrences("the classifier of --lr 1e+38 diverged and is left out"), 1) << some.output;

  const Outcome all = run(2, "probe --run " + run_folder() + " --raw --epochs 30 --lr 1e38");
  EXPECT_EQ(all.exit_code, 4) << all.output;
  EXPECT_EQ(all.occurrences("the classifiers of all learning rates diverged"), 1) << all.output;
}

TEST_F(FeatureCommands, ExplainWritesPicturesThatReportsShow) {
  const std::string in = " --out " + (folder_->path() / "explained").string();
  const Outcome here = run(2, "explain --run " + run_folder() + " --images 3 --neighbours 2"),
                there = run(1, "explain --run " + run_folder() + " --images 3 --neighbours 2" + in);

  EXPECT_EQ(here.exit_code, 0) << here.output;
  EXPECT_EQ(there.exit_code, 0) << there.output;
  for (const char* name : {"explain.json", "maps.safetensors", "maps_03.png", "nearest_01.png"})
    EXPECT_EQ(written(std::string("run/explain/") + name), written(std::string("explained/") + name)) << name;
  const auto content = nlohmann::json::parse(written("explained/explain.json"));
  EXPECT_EQ(content.at("images").size(), 3U);
  EXPECT_EQ(content.at("images")[0].at("nearest").size(), 2U);
  EXPECT_FALSE(content.at("images")[0].contains("answer")) << "dino has no head";
  EXPECT_EQ(content.at("context_tokens")[0].at("key"), "context");
  const Outcome report = run(1, "report " + run_folder() + out("page.html"));
  EXPECT_EQ(report.exit_code, 0) << report.output;
  EXPECT_NE(written("page.html").find("What the model looks at"), std::string::npos);
}

TEST_F(FeatureCommands, FinetuneTakesModelAndBackboneOfTheRun) {
  const std::string config = (folder_->path() / "finetune.yaml").string();
  folder_->write("finetune.yaml",
                 fmt::format("data: {{path: {}}}\nsampler: {{groups_per_step: 2, images_per_group: 8}}\n"
                             "optimizer: {{lr: 0, layer_decay: 0.75}}\nschedule: {{lr_end: 0}}\n"
                             "supervised: {{class_weights: balanced}}\ntrain: {{max_steps: 2}}\n",
                             (fs::path(COHORT_TEST_DATA) / "data" / "nuclei").string()));
  const std::string command = fmt::format("finetune {} --from {} run_dir={}", config, run_folder(),
                                          (folder_->path() / "tuned").string());

  const Outcome outcome = run(2, command);

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_TRUE(outcome.says("context, mean_linear")) << outcome.output;
  // A learning rate of 0: the backbone is still the teacher's.
  const auto before = checkpoint::read_safetensors(fs::path(run_folder()) / "weights.safetensors"),
             after = checkpoint::read_safetensors(folder_->path() / "tuned" / "weights.safetensors");
  for (const auto& [name, values] : before.tensors) {
    ASSERT_NE(after.find(name), nullptr) << name;
    EXPECT_TRUE(at::equal(values, *after.find(name))) << name;
  }
  EXPECT_NE(after.find("head.weight"), nullptr);
  EXPECT_EQ(run(2, command).exit_code, 0) << "it is complete";
  const std::string plain = (folder_->path() / "plain").string();
  const Outcome first = run(2, fmt::format("train {} run_dir={}", config, plain)),
                second = run(2, fmt::format("finetune {} --from {} run_dir={}-tuned", config, plain, plain));
  EXPECT_EQ(first.exit_code, 0) << first.output;
  EXPECT_EQ(second.exit_code, 0) << "without contexts: " << second.output;
  const Outcome bare = run(2, "explain --images 1 --neighbours 0 --run " + plain);
  EXPECT_EQ(bare.exit_code, 0) << "neither neighbours nor contexts: " << bare.output;
  const auto errors_on = [&](int ranks) {
    const Outcome found =
        run(ranks, fmt::format("explain --errors 4 --neighbours 0 --score insertion --steps 4 "
                               "--score-images 3 --overwrite --run {}{}",
                               plain, out("errors")));
    EXPECT_EQ(found.exit_code, 0) << found.output;
    return written("errors/explain.json") + written("errors/scores.jsonl");
  };
  const std::string errors = errors_on(1);
  EXPECT_EQ(errors, errors_on(2));
  const auto explained = nlohmann::json::parse(errors.substr(0, errors.find("\n}\n") + 3));
  double last = 1.0;
  for (const auto& image : explained.at("images")) {
    EXPECT_NE(image.at("label"), image.at("answer"));
    EXPECT_LE(image.at("probability").get<double>(), last + 1e-6);
    last = image.at("probability").get<double>();
  }
  EXPECT_EQ(explained.at("scores").size(), 2U) << "reciprocam and rollout";

  const Outcome nothing = run(2, fmt::format("finetune {} --from {}", config, folder_->path().string()));
  EXPECT_EQ(nothing.exit_code, 3) << nothing.output;
  EXPECT_EQ(nothing.occurrences("not the folder of a run"), 1) << nothing.output;
}

TEST_F(FeatureCommands, ExtractWritesAnyLayerAndPatches) {
  const std::string command =
      "extract --overwrite --run " + run_folder() + " --split test" + out("features.h5");
  const Outcome outcome = run(2, command + " --layer 1 --patch-tokens");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_NE(written("features.h5").find("patch_tokens"), std::string::npos);

  const Outcome layer = run(2, command + " --layer 99");
  EXPECT_EQ(layer.exit_code, 2) << layer.output;
  EXPECT_EQ(layer.occurrences("the model has no block 99"), 1) << layer.output;
}

TEST_F(FeatureCommands, ExtractWritesMeansOfContexts) {
  const Outcome outcome =
      run(2, "extract --run " + run_folder() + " --split test --mean-by context" + out("means.csv"));

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  const std::string means = written("means.csv");
  EXPECT_EQ(means.rfind("context,images,split,micronucleus,features_0000,", 0), 0U) << means;
  const auto attributes = nlohmann::json::parse(written("means.csv.json"));
  EXPECT_EQ(attributes.at("run"), run_folder());
  EXPECT_EQ(attributes.at("step"), 4);
  EXPECT_EQ(attributes.at("dataset"), "nuclei");
  EXPECT_EQ(attributes.at("split"), "test");
}

TEST_F(FeatureCommands, WhatCannotBeDoneIsSaidOnce) {
  const Outcome head = run(2, "predict --run " + run_folder() + out("p.csv"));
  EXPECT_EQ(head.exit_code, 2) << head.output;
  EXPECT_EQ(head.occurrences("dino learns no classes"), 1) << head.output;

  const Outcome ending = run(2, "extract --split test --run " + run_folder() + out("p.xlsx"));
  EXPECT_EQ(ending.exit_code, 2) << ending.output;
  EXPECT_EQ(ending.occurrences("'.xlsx' is no ending of a table"), 1) << ending.output;

  const Outcome key = run(2, "extract --split test --mean-by contxt --run " + run_folder() + out("p.csv"));
  EXPECT_EQ(key.exit_code, 2) << key.output;
  EXPECT_EQ(key.occurrences("no column 'contxt' to take means by"), 1) << key.output;
  EXPECT_FALSE(key.says("images/s")) << "it is found before anything is computed: " << key.output;

  const Outcome neighbours = run(2, "knn --run " + run_folder() + " --k 100000");
  EXPECT_EQ(neighbours.exit_code, 2) << neighbours.output;
  EXPECT_EQ(neighbours.occurrences("100000 neighbours are asked for"), 1) << neighbours.output;

  const Outcome split = run(2, "probe --run " + run_folder() + " --select-on tset --epochs 1");
  EXPECT_EQ(split.exit_code, 2) << split.output;
  EXPECT_EQ(split.occurrences("'tset' is none of the splits that are scored"), 1) << split.output;

  const Outcome image = run(2, "explain --run " + run_folder() + " --id nobody");
  EXPECT_EQ(image.exit_code, 2) << image.output;
  EXPECT_EQ(image.occurrences("has no image 'nobody'"), 1) << image.output;

  const Outcome score = run(2, "explain --score adcc --run " + run_folder());
  EXPECT_EQ(score.exit_code, 2) << score.output;
  EXPECT_EQ(score.occurrences("the model has no head, and scores are of the maps of an answer"), 1)
      << score.output;

  const Outcome errors = run(2, "explain --errors 3 --run " + run_folder());
  EXPECT_EQ(errors.exit_code, 2) << errors.output;
  EXPECT_EQ(errors.occurrences("the model has no head, and errors are of answers"), 1) << errors.output;
}

}  // namespace
}  // namespace cohort
