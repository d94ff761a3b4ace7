// cohort checkpoint inspect, verify, export and import, and what cohort train says of damaged checkpoints.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/file.h"

#include "support/faults.h"
#include "support/spawn.h"
#include "support/temporary_folder.h"

namespace cohort {
namespace {

namespace fs = std::filesystem;
using test::Outcome;

const fs::path kRoot = fs::path(COHORT_TEST_DATA) / "..";

class CheckpointCommands : public ::testing::TestWithParam<int> {
 protected:
  Outcome run(const std::string& command) {
    return test::spawn_ranks(COHORT_MPIEXEC, GetParam(), fmt::format("{} {}", COHORT_PROGRAM, command), 60);
  }
  Outcome train(const std::string& overrides = "") {
    return run(fmt::format("train {} data.path={} run_dir={} {}", config_, data_, run_.string(), overrides));
  }
  [[nodiscard]] fs::path checkpoint(int step) const {
    return run_ / "checkpoints" / fmt::format("step-{:08}", step);
  }

  /// Flips a byte of the last tensor's values.
  static void damage(const fs::path& checkpoint) { testing::flip_middle_bit(checkpoint / "state.h5"); }

  testing::TemporaryFolder folder_;
  fs::path run_ = folder_.path() / "run";
  std::string config_ = (kRoot / "configs" / "tests" / "nuclei.yaml").string();
  std::string data_ = (fs::path(COHORT_TEST_DATA) / "data" / "nuclei").string();
};

TEST_P(CheckpointCommands, InspectShowsWhatIsThere) {
  ASSERT_EQ(train().exit_code, 0);

  const Outcome newest = run("checkpoint inspect " + run_.string());
  const Outcome earlier = run("checkpoint inspect " + checkpoint(4).string());

  EXPECT_EQ(newest.exit_code, 0) << newest.output;
  EXPECT_TRUE(newest.says("step 8, epoch ")) << newest.output;
  EXPECT_EQ(newest.occurrences("/model/blocks.1.attn.qkv.weight"), 1) << newest.output;
  EXPECT_TRUE(newest.says("[144, 48]")) << newest.output;
  EXPECT_TRUE(earlier.says("step 4, epoch ")) << earlier.output;
}

TEST_P(CheckpointCommands, VerifyNamesEveryDamagedTensor) {
  ASSERT_EQ(train().exit_code, 0);
  const Outcome intact = run("checkpoint verify " + run_.string());
  EXPECT_EQ(intact.exit_code, 0) << intact.output;
  EXPECT_EQ(intact.occurrences(": intact"), 2) << intact.output;
  damage(checkpoint(8));

  const Outcome damaged = run("checkpoint verify " + run_.string());

  EXPECT_EQ(damaged.exit_code, 3) << damaged.output;
  EXPECT_EQ(damaged.occurrences("1 of 2 checkpoints are damaged"), 1) << damaged.output;
  EXPECT_EQ(damaged.occurrences("step-00000004: intact"), 1) << damaged.output;
  EXPECT_EQ(damaged.occurrences("step-00000008: damaged\n  tensor '/"), 1) << damaged.output;
  EXPECT_EQ(run("checkpoint verify " + checkpoint(4).string()).exit_code, 0);
}

TEST_P(CheckpointCommands, TrainWarnsOfADamagedCheckpointAndTakesTheOneBefore) {
  ASSERT_EQ(train().exit_code, 0);
  damage(checkpoint(8));

  const Outcome resumed = train();

  EXPECT_EQ(resumed.exit_code, 0) << resumed.output;
  EXPECT_EQ(resumed.occurrences("step-00000008 is damaged: tensor '/"), 1) << resumed.output;
  EXPECT_EQ(resumed.occurrences("going on from"), 1) << resumed.output;
  EXPECT_TRUE(resumed.says("step-00000004")) << resumed.output;
}

TEST_P(CheckpointCommands, ExportWritesWhatTrainingLeaves) {
  ASSERT_EQ(train().exit_code, 0);
  const fs::path file = folder_.path() / "weights.safetensors";

  const Outcome outcome = run(fmt::format("checkpoint export {} --out {}", run_.string(), file.string()));

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(
      test::spawn(fmt::format("cmp {} {}", file.string(), (run_ / "weights.safetensors").string())).exit_code,
      0);
  const Outcome again = run(fmt::format("checkpoint export {} --out {}", run_.string(), file.string()));
  EXPECT_EQ(again.exit_code, 2) << again.output;
  EXPECT_EQ(again.occurrences("the output is there already"), 1) << again.output;
  const Outcome other = run(
      fmt::format("checkpoint export {} --part teacher --out {} --overwrite", run_.string(), file.string()));
  EXPECT_EQ(other.exit_code, 2) << other.output;
  EXPECT_EQ(other.occurrences("the checkpoint has no part 'teacher'"), 1) << other.output;
}

// A run of dino, which keeps two backbones: the teacher's is what a user gets who does not ask.
TEST_P(CheckpointCommands, DinoHasATeacherAndAStudent) {
  ASSERT_EQ(train("method=dino dino.prototypes=32 dino.hidden=16 dino.bottleneck=8 dino.teacher_momentum=0.9 "
                  "train.max_steps=4")
                .exit_code,
            0);
  const fs::path teacher = folder_.path() / "teacher.safetensors",
                 student = folder_.path() / "student.safetensors";
  for (const auto& [part, file] : {std::pair("teacher", teacher), std::pair("student", student)}) {
    const Outcome outcome =
        run(fmt::format("checkpoint export {} --part {} --out {}", run_.string(), part, file.string()));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  }
  const auto differ = [](const fs::path& a, const fs::path& b) {
    return test::spawn(fmt::format("cmp -s {} {}", a.string(), b.string())).exit_code != 0;
  };
  EXPECT_FALSE(differ(teacher, run_ / "weights.safetensors"));
  EXPECT_TRUE(differ(teacher, student));

  const auto extract = [&](const std::string& from, const std::string& name) {
    const fs::path file = folder_.path() / name;
    const Outcome outcome =
        run(fmt::format("extract {} --data {} --split test --out {}", from, data_, file.string()));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    return file;
  };
  const fs::path by_default = extract("--run " + run_.string(), "default.csv"),
                 of_student = extract("--run " + run_.string() + " --part student", "student.csv"),
                 of_file =
                     extract("--weights " + student.string() + " --model " + (run_ / "config.yaml").string(),
                             "file.csv");
  EXPECT_TRUE(differ(by_default, of_student));
  EXPECT_FALSE(differ(of_student, of_file));

  const Outcome scored = run("eval --run " + run_.string());
  EXPECT_EQ(scored.exit_code, 2) << scored.output;
  EXPECT_TRUE(scored.says("dino learns no classes")) << scored.output;
}

TEST_P(CheckpointCommands, ImportListsWhatItDoes) {
  ASSERT_EQ(train("context.keys=[]").exit_code, 0);
  const fs::path file = folder_.path() / "fitted.safetensors";

  const Outcome outcome =
      run(fmt::format("checkpoint import {} --config {} --out {} data.path={} model.patch_size=8",
                      (run_ / "weights.safetensors").string(), config_, file.string(), data_));

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_TRUE(fs::exists(file));
  EXPECT_EQ(outcome.occurrences("adapted:\n  pos_embed: "), 1) << outcome.output;
  EXPECT_EQ(outcome.occurrences("patch_embed.proj.weight: [48, "), 1) << outcome.output;
  EXPECT_TRUE(outcome.says("missing, random values instead:")) << outcome.output;
}

TEST_P(CheckpointCommands, ARunWithoutCheckpointsIsRefused) {
  fs::create_directories(run_ / "checkpoints");

  const Outcome outcome = run("checkpoint inspect " + run_.string());

  EXPECT_EQ(outcome.exit_code, 3) << outcome.output;
  EXPECT_EQ(outcome.occurrences("there is no complete checkpoint"), 1) << outcome.output;
}

std::string without(std::string text, const std::string& part) {
  for (std::size_t at = 0; (at = text.find(part)) != std::string::npos;) text.erase(at, part.size());
  return text;
}

// The test images of the fixture as files, in two folders, and as a dataset of these.
TEST(Predict, SaysOfBareImagesWhatItSaysOfTheirDatasetOnAnyNumberOfRanks) {
  const testing::TemporaryFolder folder;
  const auto in_folder = [&](const std::string& name) { return (folder.path() / name).string(); };
  const auto run = [&](int ranks, const std::string& program, const std::string& command) {
    const Outcome outcome = test::spawn_ranks(COHORT_MPIEXEC, ranks, program + " " + command, 60);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  };
  const std::string fixture = (fs::path(COHORT_TEST_DATA) / "data" / "nuclei").string();
  run(1, COHORT_PROGRAM,
      fmt::format("train {} data.path={} run_dir={} train.max_steps=2",
                  (kRoot / "configs" / "tests" / "nuclei.yaml").string(), fixture, in_folder("run")));
  run(1, COHORT_DATA_PROGRAM, fmt::format("export {} --split test --out {}", fixture, in_folder("files")));
  int number = 0;
  for (const char* name : {"photos/a", "photos/b/c"}) fs::create_directories(folder.path() / name);
  for (const auto& file : fs::directory_iterator(folder.path() / "files" / "test"))
    fs::rename(file.path(),
               folder.path() / "photos" / (++number % 3 == 0 ? "a" : "b/c") / file.path().filename());
  run(1, COHORT_DATA_PROGRAM,
      fmt::format("convert images {}/b --layout context --out {}", in_folder("photos"), in_folder("made")));
  const std::string predict = "predict --run " + in_folder("run") + " --out " + in_folder("");

  run(1, COHORT_PROGRAM, predict + "made.csv " + in_folder("made"));
  run(1, COHORT_PROGRAM, predict + "b.csv " + in_folder("photos/b"));
  run(1, COHORT_PROGRAM, predict + "one.csv " + in_folder("photos"));
  run(3, COHORT_PROGRAM, predict + "three.csv " + in_folder("photos"));

  const std::string made = read_file(folder.path() / "made.csv"), one = read_file(folder.path() / "one.csv");
  EXPECT_EQ(made.rfind("id,split,context,prediction,probability_0,probability_1\nc/crop", 0), 0U) << made;
  EXPECT_EQ(without(without(made, ",split"), ",train"), read_file(folder.path() / "b.csv"));
  EXPECT_EQ(one.rfind("id,context,prediction,probability_0,probability_1\na/crop", 0), 0U) << one;
  EXPECT_EQ(std::count(one.begin(), one.end(), '\n'), 225);
  EXPECT_EQ(one, read_file(folder.path() / "three.csv"));

  const Outcome again = test::spawn_ranks(
      COHORT_MPIEXEC, 2, fmt::format("{} {}one.csv {}", COHORT_PROGRAM, predict, in_folder("photos")), 60);
  EXPECT_EQ(again.exit_code, 2) << again.output;
  EXPECT_EQ(again.occurrences("the output is there already"), 1) << again.output;
}

INSTANTIATE_TEST_SUITE_P(Ranks, CheckpointCommands, ::testing::Values(1, 2));

}  // namespace
}  // namespace cohort
