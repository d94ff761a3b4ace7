// What users get to see when something is wrong: one message, the documented exit code, on any number of
// ranks.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/faults.h"
#include "support/job.h"
#include "support/spawn.h"
#include "support/temporary_folder.h"

namespace cohort {
namespace {

namespace fs = std::filesystem;
using test::Outcome;

constexpr int kPatienceSeconds = 300;  // a job that takes longer hangs

const fs::path kNuclei = fs::path(COHORT_TEST_DATA) / "data" / "nuclei";
const fs::path kConfig = fs::path(COHORT_TEST_DATA) / ".." / "configs" / "tests" / "nuclei.yaml";

std::string on_ranks(int ranks, const std::string& command) {
  return fmt::format("{} -n {} {}", COHORT_MPIEXEC, ranks, command);
}

std::string train(const fs::path& run, const std::string& overrides = "") {
  return fmt::format("{} train {} data.path={} run_dir={} {}", COHORT_PROGRAM, kConfig.string(),
                     kNuclei.string(), run.string(), overrides);
}

void expect_one_message(const Outcome& outcome, int exit_code, const std::string& what,
                        const std::string& fix) {
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.output;
  EXPECT_EQ(outcome.occurrences(what), 1) << outcome.output;
  EXPECT_EQ(outcome.occurrences("  where: "), 1) << outcome.output;
  EXPECT_EQ(outcome.occurrences("  fix:   "), 1) << outcome.output;
  EXPECT_TRUE(outcome.says(fix)) << outcome.output;
}

class ErrorsOnRanks : public ::testing::TestWithParam<int> {
 protected:
  Outcome run(const std::string& command) {
    return test::spawn(on_ranks(GetParam(), command), kPatienceSeconds);
  }

  testing::TemporaryFolder folder_;
  fs::path run_folder_ = folder_.path() / "run";
};

TEST_P(ErrorsOnRanks, UnknownKeySuggestsTheNearest) {
  const Outcome outcome = run(train(run_folder_, "optimiser.lr=1e-3"));

  expect_one_message(outcome, 2, "unknown key", "did you mean");
  EXPECT_TRUE(outcome.says("optimizer.lr")) << outcome.output;
  EXPECT_FALSE(fs::exists(run_folder_));
  EXPECT_EQ(outcome.occurrences("(what mpirun prints below this line is its own"), 1) << outcome.output;
}

TEST_P(ErrorsOnRanks, ValueOutOfRangeNamesTheRange) {
  const Outcome outcome = run(train(run_folder_, "model.drop_path=1.5"));

  expect_one_message(outcome, 2, "model.drop_path must be", "0.99");
}

TEST_P(ErrorsOnRanks, MissingDataset) {
  const Outcome outcome = run(train(run_folder_, "data.path=" + (folder_.path() / "nothing").string()));

  expect_one_message(outcome, 3, "there is no such dataset", "check data.path");
}

TEST_P(ErrorsOnRanks, ContextWithoutImages) {
  const Outcome outcome = run(train(run_folder_, "data.contexts=[no_such_context]"));

  expect_one_message(outcome, 2, "no_such_context", "fix:");
}

TEST_P(ErrorsOnRanks, TooFewImagesForAGroup) {
  const Outcome outcome = run(train(run_folder_, "sampler.images_per_group=5000"));

  expect_one_message(outcome, 3, "fewer images than a group of 5000", "lower sampler.images_per_group");
}

TEST_P(ErrorsOnRanks, UnwritableRunFolder) {
  const fs::path file = folder_.write("a_file", "not a folder");

  const Outcome outcome = run(train(file / "run"));

  expect_one_message(outcome, 3, "cannot create the folder", "check the path");
}

TEST_P(ErrorsOnRanks, ResumeThatCannotMatchListsTheDifferences) {
  ASSERT_EQ(run(train(run_folder_)).exit_code, 0);

  const Outcome outcome =
      run(train(run_folder_, "model.width=96 sampler.images_per_group=2 train.max_steps=9"));

  expect_one_message(outcome, 2, "does not fit the checkpoint", "--overwrite");
  EXPECT_TRUE(outcome.says("model.width: 48 -> 96")) << outcome.output;
  EXPECT_TRUE(outcome.says("sampler.images_per_group: 4 -> 2")) << outcome.output;
}

/// A copy of the fixture, one byte of one image of the training split flipped.
fs::path damaged_copy(const fs::path& folder) {
  const fs::path copy = folder / "damaged";
  fs::copy(kNuclei, copy, fs::copy_options::recursive);
  for (const auto& entry : fs::directory_iterator(copy)) {
    fs::permissions(entry.path(), fs::perms::owner_write, fs::perm_options::add);
  }
  testing::flip_middle_bit(copy / "train-00000.h5");
  return copy;
}

// Only the rank that reads the damaged row knows: it speaks, and takes the others down.
TEST_P(ErrorsOnRanks, DamagedRowEndsTheJobFromTheRankThatReadsIt) {
  const fs::path damaged = damaged_copy(folder_.path());

  const Outcome outcome =
      run(train(run_folder_,
                fmt::format("data.path={} train.max_steps=400 checkpoint.every_steps=0", damaged.string())));

  expect_one_message(outcome, 3, "train-00000.h5", "cohort-data verify");
}

TEST_P(ErrorsOnRanks, VerifyNamesTheDamagedRow) {
  const fs::path damaged = damaged_copy(folder_.path());

  const Outcome outcome = run(fmt::format("{} verify {}", COHORT_DATA_PROGRAM, damaged.string()));

  EXPECT_EQ(outcome.exit_code, 3) << outcome.output;
  EXPECT_TRUE(outcome.says("train-00000.h5")) << outcome.output;
}

TEST_P(ErrorsOnRanks, UnknownSubCommandOption) {
  const Outcome outcome = run(fmt::format("{} train --no-such-option", COHORT_PROGRAM));

  EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
  EXPECT_EQ(outcome.occurrences("--no-such-option"), 1) << outcome.output;
}

INSTANTIATE_TEST_SUITE_P(Ranks, ErrorsOnRanks, ::testing::Values(1, 2, 3));

TEST(Errors, RanksThatDoNotDivideTheGroups) {
  const testing::TemporaryFolder folder;

  const Outcome outcome =
      test::spawn(on_ranks(3, train(folder.path() / "run", "sampler.groups_per_step=4")), kPatienceSeconds);

  EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
  EXPECT_EQ(outcome.occurrences("3 ranks cannot share 4 groups evenly"), 1) << outcome.output;
}

TEST(Errors, AProcessorThatIsNoneIsRefusedOnce) {
  const testing::TemporaryFolder folder;

  const Outcome outcome = test::spawn(
      "env COHORT_CPU_CAPABILITY=avx51 " + on_ranks(2, train(folder.path() / "run")), kPatienceSeconds);

  expect_one_message(outcome, 2, "'avx51' names no kind of processor", "avx512");
}

TEST(Errors, TheLogSaysWhichKernelsAreInUse) {
  const testing::TemporaryFolder folder;

  const Outcome outcome = test::spawn(
      "env COHORT_CPU_CAPABILITY=default " + on_ranks(2, train(folder.path() / "run", "train.max_steps=1")),
      kPatienceSeconds);

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_TRUE(outcome.says("kernels    the baseline, LibTorch's for ")) << outcome.output;
}

// Starts a long run on 2 ranks, waits for its first step, sends the signal to one rank and tells how the job
// ended.
Outcome signal_one_rank(const testing::TemporaryFolder& folder, const std::string& signal) {
  const fs::path run = folder.path() / "run";
  const std::string timeout = signal == "STOP" ? "3s" : "1min";  // which only a stopped rank is to meet
  const std::string job =
      on_ranks(2, train(run, "train.max_steps=1000000 checkpoint.every_steps=0 comm.timeout=" + timeout));
  const fs::path script = folder.write(
      "signal.sh",
      fmt::format(
          "{} &\njob=$!\n"
          "until grep -q kind {}/metrics.jsonl 2>/dev/null; do kill -0 $job || exit 99; sleep 0.1; done\n"
          "kill -{} $(pgrep -f '^{} train.*run_dir={} ' | tail -n 1)\nwait $job\n",
          job, run.string(), signal, COHORT_PROGRAM, run.string()));
  return test::spawn("bash " + script.string(), kPatienceSeconds);
}

TEST(Errors, KilledRankEndsTheJob) {
  const testing::TemporaryFolder folder;

  const Outcome outcome = signal_one_rank(folder, "KILL");

  EXPECT_EQ(outcome.exit_code, 137) << outcome.output;
  EXPECT_TRUE(outcome.says("signal 9")) << outcome.output;
}

TEST(Errors, StoppedRankIsNamedAfterTheTimeout) {
  const testing::TemporaryFolder folder;

  const Outcome outcome = signal_one_rank(folder, "STOP");

  EXPECT_EQ(outcome.exit_code, 5) << outcome.output;
  EXPECT_TRUE(outcome.says("rank 1") || outcome.says("rank 0")) << outcome.output;
}

TEST(Errors, SigtermSavesACheckpointAndGoesOn) {
  const testing::TemporaryFolder folder;
  const fs::path run = folder.path() / "run";

  const Outcome stopped = signal_one_rank(folder, "TERM");
  EXPECT_EQ(stopped.exit_code, 75) << stopped.output;
  ASSERT_TRUE(fs::exists(run / "checkpoints" / "latest"));

  const Outcome resumed = test::spawn(on_ranks(1, train(run, "train.max_steps=1")), kPatienceSeconds);
  EXPECT_EQ(resumed.exit_code, 0) << resumed.output;
}

std::string content(const fs::path& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// The numbers of the steps in metrics.jsonl, each behind a comma.
std::string steps_in(const fs::path& run) {
  std::ifstream lines(run / "metrics.jsonl");
  std::string steps;
  for (std::string line; std::getline(lines, line);) {
    const std::string start = R"({"kind":"step","step":)";
    if (line.starts_with(start))
      steps += "," + line.substr(start.size(), line.find(',', start.size()) - start.size());
  }
  return steps;
}

// The name is as long as one that made Open MPI overrun a buffer (203 characters) at the first checkpoint.
TEST(Errors, ARunFolderHasOneOwnerUntilThatIsKilled) {
  const testing::TemporaryFolder folder;
  const fs::path run = folder.path() / std::string(210 - folder.path().string().size(), 'r');
  testing::Job first(train(run, "train.max_steps=1000000 checkpoint.every_steps=5 eval.every_epochs=0"),
                     folder.path() / "first.txt");
  while (content(run / "metrics.jsonl").find("\"step\":10,") == std::string::npos && !first.has_ended())
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ASSERT_FALSE(first.has_ended()) << first.output();

  for (const char* command : {"", "--overwrite"}) {
    const Outcome second = test::spawn(train(run, command), kPatienceSeconds);
    EXPECT_EQ(second.exit_code, 2) << second.output;
    EXPECT_EQ(second.occurrences(
                  fmt::format("the run folder is in use by cohort train, process {} on ", first.process())),
              1)
        << second.output;
  }
  const Outcome page =
      test::spawn(fmt::format("{} report {} --out {}/page.html", COHORT_PROGRAM, run.string(), run.string()));
  EXPECT_EQ(page.exit_code, 2) << page.output;
  EXPECT_FALSE(first.has_ended()) << first.output();

  kill(first.process(), SIGKILL);
  first.wait(std::chrono::seconds(kPatienceSeconds));
  std::ofstream(run / "STOP") << "";
  const Outcome resumed =
      test::spawn(train(run, "train.max_steps=1000000 eval.every_epochs=0"), kPatienceSeconds);

  EXPECT_EQ(resumed.exit_code, 75) << resumed.output;
  EXPECT_FALSE(fs::exists(run / "owner.json"));
  const std::string steps = steps_in(run);
  std::string expected;
  for (auto i = 1; expected.size() < steps.size(); ++i) expected += fmt::format(",{}", i);
  EXPECT_EQ(steps, expected) << "each step once";
}

}  // namespace
}  // namespace cohort
