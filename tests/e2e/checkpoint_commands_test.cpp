// cohort checkpoint inspect, verify, export and import, and what cohort train says of damaged checkpoints.
#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

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
  const Outcome other =
      run(fmt::format("checkpoint export {} --part teacher --out {}", run_.string(), file.string()));
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
  const fs::path by_default = extract("--run " + run_.string(), "default.h5"),
                 of_student = extract("--run " + run_.string() + " --part student", "student.h5"),
                 of_file =
                     extract("--weights " + student.string() + " --model " + (run_ / "config.yaml").string(),
                             "file.h5");
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

INSTANTIATE_TEST_SUITE_P(Ranks, CheckpointCommands, ::testing::Values(1, 2));

}  // namespace
}  // namespace cohort
