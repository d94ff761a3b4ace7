// cohort submit and cohort status as they are typed, beside programs that play Slurm.
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "cohort/core/file.h"

#include "fake_slurm.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;
using test::Outcome;

class SubmitCommand : public ::testing::Test {
 protected:
  [[nodiscard]] std::string line(const std::string& more) const {
    const fs::path tests = COHORT_TEST_DATA;
    return fmt::format("cd {} && {} submit {} data.path={} run_dir=run {}", slurm_.folder().path().string(),
                       COHORT_PROGRAM, (tests / ".." / "configs" / "tests" / "nuclei.yaml").string(),
                       (tests / "data" / "nuclei").string(), more);
  }
  void play_sbatch() {
    slurm_.play("sbatch",
                "if [ $1 = --test-only ]; then echo 'sbatch: Job 41 to start at noon' >&2; else echo 42; fi");
    slurm_.play("squeue", "exit 1");
  }
  void expect_refused(const std::string& more, int code, const std::string& what, const std::string& fix) {
    const Outcome outcome = slurm_.run(line(more));
    EXPECT_EQ(outcome.exit_code, code) << outcome.output;
    EXPECT_TRUE(outcome.says(what)) << outcome.output;
    EXPECT_TRUE(outcome.says(fix)) << outcome.output;
    EXPECT_EQ(outcome.occurrences("  fix:   "), 1) << outcome.output;
  }
  [[nodiscard]] fs::path path(const std::string& name) const { return slurm_.folder().path() / name; }

  FakeSlurm slurm_;
};

TEST_F(SubmitCommand, WritesChecksSubmitsAndSaysWhatIsWhere) {
  play_sbatch();

  const Outcome outcome =
      slurm_.run("umask 022\n" + line("--nodes 2 --ranks-per-node 3 --cpus-per-rank 4 --time 2h --after 12"));

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  for (const char* text :
       {"site: the defaults",
        "2 nodes, 3 ranks each by srun, 4 processors a rank (OMP_NUM_THREADS=4, bound to cores)",
        "run/slurm/train.sbatch", "Job 41 to start at noon", "job 42: train, after job 12",
        "run/slurm/train-42.log", "cohort status run"})
    EXPECT_TRUE(outcome.says(text)) << text << "\n" << outcome.output;
  EXPECT_EQ(slurm_.called("sbatch"),
            "--test-only\nrun/slurm/"
            "train.sbatch\n--parsable\n--dependency=afterok:12\n--kill-on-invalid-dep=yes\nrun/slurm/"
            "train.sbatch\n");
  EXPECT_EQ(fs::status(path("run/slurm/train.sbatch")).permissions(), fs::perms::owner_all);
  EXPECT_EQ(fs::status(path("run/slurm")).permissions() & (fs::perms::group_write | fs::perms::others_write),
            fs::perms::none);
}

// Of the original with the words of the command line: nothing of it is asked for when the job begins.
TEST_F(SubmitCommand, TheJobTrainsFromACopyOfTheConfiguration) {
  play_sbatch();
  ASSERT_EQ(slurm_.run(line("seed=3 --time 1h")).exit_code, 0);
  const std::string first = read_file(path("run/slurm/train.yaml"));

  ASSERT_EQ(slurm_.run(line("seed=4 --time 1h --after 42")).exit_code, 0);
  const std::string again = read_file(path("run/slurm/train.sbatch"));
  const Outcome outcome = slurm_.run(line("seed=3 --time 1h --after 42 --array optimizer.lr=1e-3,3e-4"));

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_TRUE(outcome.says("config: run/slurm/train.yaml\n")) << outcome.output;
  EXPECT_NE(first.find("\nseed: 3\n"), std::string::npos) << first;
  EXPECT_NE(first.find("\n  name: vit_tiny\n"), std::string::npos) << first;
  EXPECT_EQ(read_file(path("run/slurm/train.yaml")), first);  // the first job may be requeued
  EXPECT_NE(read_file(path("run/slurm/train-2.yaml")).find("\nseed: 4\n"), std::string::npos);
  EXPECT_NE(again.find(" train run/slurm/train-2.yaml "), std::string::npos) << again;
  const std::string array = read_file(path("run/slurm/train.sbatch"));
  EXPECT_NE(array.find(" train run/slurm/train.yaml \"${arguments[@]}\""), std::string::npos) << array;
  EXPECT_EQ(array.find("nuclei.yaml"), std::string::npos) << array;
}

TEST_F(SubmitCommand, AFolderWithAnOddNameStaysAName) {
  play_sbatch();

  const Outcome outcome = slurm_.run(line(R"('run_dir=a $(touch stolen) '"\"'b %j" --time 1h)"));

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_TRUE(fs::exists(path("a $(touch stolen) \"'b %j/slurm/train.sbatch"))) << outcome.output;
  EXPECT_FALSE(fs::exists(path("stolen")));
}

TEST_F(SubmitCommand, AnArrayHasAnElementForEachValue) {
  play_sbatch();

  const Outcome outcome = slurm_.run(line("--array optimizer.lr=1e-3,3e-4 --time 1h --stage train,report"));

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_TRUE(outcome.says("train, 2 elements")) << outcome.output;
  EXPECT_TRUE(outcome.says("job 42: report, after job 42")) << outcome.output;
  for (const char* element : {"run/optimizer.lr=1e-3", "run/optimizer.lr=3e-4"})
    EXPECT_TRUE(fs::exists(path(element) / "slurm" / "jobs.jsonl")) << element;
}

TEST_F(SubmitCommand, ADryRunLeavesNothingAndNeedsNoSlurm) {
  const Outcome outcome = slurm_.run(
      line("--time 1h --dry-run --stage convert,verify,train,probe,report -- images photos --out 'd 1'"));

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(outcome.occurrences("#!/bin/bash"), 5) << outcome.output;
  EXPECT_TRUE(outcome.says("convert images photos --out 'd 1' ")) << outcome.output;
  EXPECT_FALSE(fs::exists(path("run")));
}

TEST_F(SubmitCommand, GivesSlurmsOwnWordsWhenItRefuses) {
  slurm_.play("sbatch", "echo 'sbatch: error: invalid partition specified: moon' >&2; exit 1");
  slurm_.play("squeue", "exit 1");

  expect_refused("--time 1h", 2, "Slurm refuses the job: invalid partition specified: moon", "site file");
}

TEST_F(SubmitCommand, WithoutSlurmSaysWhereToGo) {
  const Outcome outcome = slurm_.run("export PATH=/nowhere\n" + line("--time 1h"));

  EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
  EXPECT_TRUE(outcome.says("there is no sbatch here")) << outcome.output;
  EXPECT_TRUE(outcome.says("--dry-run")) << outcome.output;
}

TEST_F(SubmitCommand, RefusesWhatCannotWork) {
  play_sbatch();
  expect_refused("--time soon", 2, "'soon' is no time for a job", "12h");
  expect_refused("--time 4min", 2, "no more than train.stop.margin", "lower train.stop.margin");
  expect_refused("--time 1h --array lr=1,2", 2, "unknown key 'lr'", "did you mean 'optimizer.lr'");
  expect_refused("--time 1h --array lr", 2, "does not name a key and its values",
                 "--array optimizer.lr=1e-3,3e-4");
  expect_refused("--time 1h --nodes 5", 2, "5 ranks cannot share", "fix:");
  expect_refused("--time 1h --gpus-per-node 2 device=cpu", 2, "the job asks for GPUs, but device is cpu",
                 "device=auto");
  expect_refused("--time 1h device=cuda", 2, "device is cuda, but the job asks for no GPUs",
                 "--gpus-per-node");
  EXPECT_EQ(slurm_.run(line("--time 1h device=cuda --stage verify --dry-run")).exit_code, 0);
  EXPECT_TRUE(slurm_.run(line("--time 1h --gpus-per-node 2 --dry-run")).says("device=cuda"));
  expect_refused("--time 1h --nodes 1000000 --ranks-per-node 1000000", 2, "ranks cannot share", "fix:");
  expect_refused("--time 1h resume=never", 2, "resume is 'never'", "resume=auto");
  expect_refused("--time 1h --stage train,prob", 2, "prob", "fix:");
  expect_refused("--time 1h $'run_dir=a\\nb'", 2, "control character", "fix:");
  expect_refused("--time 1h 'run_dir=a\\b'", 2, "backslash", "another folder");
  slurm_.folder().write("site.yaml", "partitoin: x\n");
  expect_refused("--time 1h --site site.yaml", 2, "unknown key 'partitoin'", "did you mean 'partition'");
  expect_refused("--time 1h --site none.yaml", 2, "none.yaml", "fix:");
  slurm_.folder().write("run/metrics.jsonl", "{\"kind\":\"end\",\"step\":8}\n");
  expect_refused("--time 1h", 2, "the run folder holds a finished run", "another run_dir");
  const std::string end = "2 evaluations in a row without a better test/loss",
                    rule = "--time 1h checkpoint.best_by=test/loss train.early_stopping.patience=";
  slurm_.folder().write("run/metrics.jsonl", "{\"kind\":\"end\",\"step\":8,\"reason\":\"" + end + "\"}\n");
  expect_refused(rule + "2", 2, "the run folder holds a finished run", "another run_dir");
  EXPECT_EQ(slurm_.run(line(rule + "3 --dry-run")).exit_code, 0) << "with more patience it goes on";
  slurm_.folder().write("file", "");
  expect_refused("--time 1h run_dir=file/run", 3, "cannot create the folder", "fix:");
}

TEST_F(SubmitCommand, RefusesASecondJobForARunThatIsAtWork) {
  play_sbatch();
  slurm_.folder().write("run/slurm/jobs.jsonl", "{\"job\":\"42\",\"stage\":\"train\"}\n");
  slurm_.play("squeue", "echo 42 RUNNING");

  expect_refused("--time 1h", 2, "job 42 of this run is RUNNING", "--after 42");
  EXPECT_EQ(slurm_.run(line("--time 1h --after 42")).exit_code, 0);
}

TEST_F(SubmitCommand, TheSiteFileComesFromTheEnvironmentOrHome) {
  slurm_.folder().write("other.yaml", "partition: other\n");
  slurm_.folder().write(".config/cohort/site.yaml", "partition: home\ncpus_per_node: 12\n");

  EXPECT_TRUE(
      slurm_.run("export COHORT_SITE=other.yaml\n" + line("--time 1h --dry-run")).says("--partition=other"));
  const Outcome home = slurm_.run(line("--time 1h --dry-run --ranks-per-node 4"));
  EXPECT_TRUE(home.says("--partition=home") && home.says("--cpus-per-task=3")) << home.output;
}

class StatusCommand : public ::testing::Test {
 protected:
  StatusCommand() {
    slurm_.folder().write(
        "runs/first/metrics.jsonl",
        "{\"kind\":\"start\",\"step\":0,\"total_steps\":1000,\"job\":\"6\"}\n"
        "{\"kind\":\"step\",\"step\":1,\"seconds\":9.0,\"images_per_second\":1.0}\n" +
            repeated("{\"kind\":\"step\",\"step\":200,\"seconds\":0.5,\"images_per_second\":96.0}\n", 20) +
            "{\"kind\":\"step\",\"step\":201,\"sec");
    slurm_.folder().write("runs/sweep/lr=1/slurm/jobs.jsonl", "{\"job\":\"7_0\",\"stage\":\"train\"}\n");
    slurm_.folder().write("runs/sweep/lr=2/metrics.jsonl", "{\"kind\":\"end\",\"step\":8}\n");
  }
  static std::string repeated(const std::string& text, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) all += text;
    return all;
  }
  [[nodiscard]] Outcome status(const std::string& folders) const {
    return slurm_.run(
        fmt::format("cd {} && {} status {}", slurm_.folder().path().string(), COHORT_PROGRAM, folders));
  }

  FakeSlurm slurm_;
};

TEST_F(StatusCommand, ShowsStepsRateAndTimeLeft) {
  slurm_.play("squeue", "echo 6 RUNNING; echo 7_0 PENDING");

  const Outcome outcome = status("");

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_TRUE(outcome.says("│ runs/first      │ 6   │ RUNNING │ 200 / 1,000 │  96.0 │ 6 min 40 s │"))
      << outcome.output;
  EXPECT_TRUE(outcome.says("│ runs/sweep/lr=1 │ 7_0 │ PENDING │           - │     - │          - │"))
      << outcome.output;
  EXPECT_TRUE(outcome.says("│ runs/sweep/lr=2 │ -   │       - │           0 │     - │       done │"))
      << outcome.output;
}

// The rate is that of the last 20 steps, the best score that of the last such line, and the job that of the
// last start, wherever these stand.
TEST_F(StatusCommand, FindsWhatStandsFarFromTheEnd) {
  std::string lines = "{\"kind\":\"start\",\"job\":\"8\",\"total_steps\":90000,\"step\":0}\n";
  const auto steps = [&](int first, int last, double rate) {
    for (int step = first; step < last; ++step)
      lines += fmt::format("{{\"kind\":\"step\",\"step\":{},\"seconds\":0.5,\"images_per_second\":{}}}\n",
                           step, rate);
  };
  steps(0, 50, 10);
  lines += "{\"kind\":\"best\",\"step\":20,\"score\":0.25}\n{\"kind\":\"best\",\"step\":50,\"score\":0.75}\n";
  lines += "{\"kind\":\"start\",\"job\":\"9\",\"total_steps\":80000,\"step\":50}\n";
  steps(50, 59'990, 20);
  steps(59'990, 60'001, 40);
  slurm_.folder().write("runs/long/metrics.jsonl", lines + "{\"kind\":\"step\",\"step\":70");

  const Outcome outcome = status("runs/long");

  // 9 steps of 20 images a second and 11 of 40.
  EXPECT_TRUE(outcome.says("│ runs/long │ 9   │     - │ 60,000 / 80,000 │  31.0 │")) << outcome.output;
  EXPECT_TRUE(outcome.says("0.7500 at 50")) << outcome.output;
}

TEST_F(StatusCommand, WithoutSlurmStatesAreNotKnown) {
  const Outcome outcome = status("runs/first");

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_TRUE(outcome.says("│ runs/first │ 6   │     - │ 200 / 1,000 │")) << outcome.output;
}

TEST_F(StatusCommand, RefusesAFolderWithoutRuns) {
  const Outcome outcome = status("nothing");

  EXPECT_EQ(outcome.exit_code, 3) << outcome.output;
  EXPECT_TRUE(outcome.says("there is no run")) << outcome.output;
}

}  // namespace
}  // namespace cohort::jobs
