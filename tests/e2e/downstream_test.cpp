// A study by one command: killed in the middle and gone on with on other ranks, it ends with the tables of
// one that nobody disturbed.
#include <filesystem>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/file.h"

#include "run_commands.h"

namespace cohort::e2e {
namespace {

namespace fs = std::filesystem;

constexpr int kEncoders = 2, kModes = 2, kSeeds = 2;

class Downstream : public RunCommands {
 protected:
  static void SetUpTestSuite() { train("reproducible=true"); }

  /// Of the encoder of the run and of random values.
  static std::string study(const std::string& out, const std::string& more = "") {
    const fs::path tests = COHORT_TEST_DATA;
    std::string command = fmt::format(
        "downstream cells={} --from plain={} random --modes frozen,finetuned --runs {} --out {}",
        (tests / ".." / "configs" / "tests" / "nuclei.yaml").string(), run_folder(), kSeeds, place(out));
    for (const std::string& set :
         {"data.path=" + (tests / "data" / "nuclei").string(), std::string("train.max_steps=4"),
          std::string("reproducible=true"), std::string("checkpoint.every_steps=1"),
          std::string("eval.every_epochs=1"), std::string("eval.splits=[test]"),
          std::string("checkpoint.best_by=test/loss"), std::string("train.tensorboard=false")})
      command += " --set " + set;
    return command + " " + more;
  }
  static int ended_runs(const std::string& out) {
    int count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(place(out))) {
      if (entry.path().filename() == "weights.safetensors") ++count;
    }
    return count;
  }
  static void expect_same_tables(const std::string& a, const std::string& b) {
    for (const char* file : {"table.md", "table.tex", "scores.csv", "differences.csv", "scores.svg"})
      EXPECT_EQ(written(a + "/" + file), written(b + "/" + file)) << file;
  }
  /// Starts the study and kills it once `ended` of its runs have ended.
  static void kill_after(int ended, const std::string& out) {
    const fs::path script = folder_->write(
        "kill.sh",
        fmt::format("{} {} &\njob=$!\nuntil [ $(find {} -name weights.safetensors | wc -l) -ge {} ]; do kill "
                    "-0 $job || exit 99; sleep 0.02; done\nkill -KILL $job\nwait $job\n",
                    COHORT_PROGRAM, study(out), place(out), ended));
    const test::Outcome outcome = test::spawn("bash " + script.string(), 120);
    ASSERT_EQ(outcome.exit_code, 137) << outcome.output;
  }
};

TEST_F(Downstream, KilledInTheMiddleItEndsWithTheSameTables) {
  fs::create_directories(place("disturbed"));
  kill_after(3, "disturbed");
  ASSERT_LT(ended_runs("disturbed"), kEncoders * kModes * kSeeds);
  expect_done(run(2, fmt::format("downstream --out {}", place("disturbed"))));  // as it stands
  expect_done(run(1, study("calm")));
  EXPECT_EQ(ended_runs("disturbed"), kEncoders * kModes * kSeeds);
  expect_same_tables("calm", "disturbed");
  EXPECT_NE(written("calm/table.md").find("plain − random"), std::string::npos) << written("calm/table.md");
  EXPECT_EQ(written("calm/table.md").find("Not all runs"), std::string::npos) << written("calm/table.md");
  // Once more: nothing is trained.
  const test::Outcome again = run(2, study("calm"));
  expect_done(again);
  EXPECT_FALSE(again.says("parameters")) << again.output;
}

TEST_F(Downstream, ASearchChoosesAndFailedRunsStopNoOthers) {
  const test::Outcome outcome = run(1, study("search", "--lr-search 1e-3,1e-4"));
  expect_done(outcome);
  EXPECT_NE(written("search/cells/plain/frozen/rate.json").find("\"rate\":\"1e-"), std::string::npos);
  EXPECT_NE(written("search/table.md").find("learning rate 1e-"), std::string::npos);
  // The weights of a third encoder are none.
  folder_->write("bad.safetensors", "nothing");
  const test::Outcome failed = run(2, study("failed", "--from " + place("bad.safetensors")));
  EXPECT_EQ(failed.exit_code, 3) << failed.output;
  EXPECT_EQ(failed.occurrences("4 of 12 runs failed"), 1) << failed.output;
  EXPECT_EQ(ended_runs("failed"), kEncoders * kModes * kSeeds);
  EXPECT_NE(written("failed/table.md").find("bad/frozen: 0 of 2 runs"), std::string::npos);
}

TEST_F(Downstream, RefusesWhatCannotBeAStudy) {
  expect_refused(study("refused", "--set checkpoint.best_by="), "checkpoint.best_by is empty");
  expect_refused(study("refused", "--score nowhere/loss"), "is of no split");
  expect_refused(study("refused", "--modes frosen"), "did you mean 'frozen'?");
  expect_refused(study("refused", "--from a=random a=random"), "two of them are called 'a'");
  EXPECT_FALSE(fs::exists(place("refused/study.json")));
  EXPECT_EQ(run(1, "downstream --out " + place("nothing")).exit_code, 3);
}

}  // namespace
}  // namespace cohort::e2e
