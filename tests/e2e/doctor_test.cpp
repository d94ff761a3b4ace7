// cohort doctor, as it is typed.
#include <filesystem>
#include <map>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/spawn.h"
#include "support/temporary_folder.h"

namespace cohort {
namespace {

namespace fs = std::filesystem;
using test::Outcome;

constexpr int kMostSeconds = 300;  // a job that takes longer hangs

class Doctor : public ::testing::Test {
 protected:
  /// `before`: settings of the shell; the words of `arguments` follow --run-dir.
  [[nodiscard]] Outcome run(int ranks, const std::string& arguments = "",
                            const std::string& before = "true") const {
    const std::string start = ranks > 0 ? fmt::format("{} -n {} ", COHORT_MPIEXEC, ranks) : "";
    return test::spawn(fmt::format("bash -c '{} && {}{} doctor --run-dir {} {}'", before, start,
                                   COHORT_PROGRAM, (folder_.path() / "runs" / "x").string(), arguments),
                       kMostSeconds);
  }

  /// Status by name of the check.
  static std::map<std::string, std::string> statuses(const Outcome& outcome) {
    std::map<std::string, std::string> found;
    const std::string json = outcome.output.substr(0, outcome.output.rfind("}\n") + 2);
    const auto parsed = nlohmann::json::parse(json);
    for (const auto& check : parsed.at("checks")) found[check.at("name")] = check.at("status");
    return found;
  }

  [[nodiscard]] bool nothing_is_left() const { return fs::is_empty(folder_.path()); }

  testing::TemporaryFolder folder_;
};

TEST_F(Doctor, FindsNothingWrongAloneAndLeavesNothingBehind) {
  const Outcome outcome = run(0, fmt::format("--data {}/data/nuclei", COHORT_TEST_DATA));

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_TRUE(outcome.says("nuclei: 612 images, all shards there")) << outcome.output;
  EXPECT_FALSE(outcome.says("fail")) << outcome.output;
  EXPECT_TRUE(nothing_is_left());
}

TEST_F(Doctor, OnFourRanksOneLineACheckSpeaksForAll) {
  const Outcome outcome = run(4, "--json");

  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  const auto found = statuses(outcome);
  EXPECT_EQ(found.size(), 17U);
  for (const char* name : {"launcher", "all-reduce", "versions", "run folder", "shared file", "file locks"})
    EXPECT_EQ(found.at(name), "ok") << outcome.output;
  EXPECT_TRUE(nothing_is_left());
}

TEST_F(Doctor, ProcessesThatMpiDidNotJoinAreNamed) {
  const Outcome outcome = run(0, "", "export SLURM_STEP_NUM_TASKS=8 SLURM_PROCID=0");

  EXPECT_EQ(outcome.exit_code, 5) << outcome.output;
  EXPECT_TRUE(outcome.says("srun started 8 processes, but each of them is rank 0 of 1")) << outcome.output;
  EXPECT_TRUE(outcome.says("--mpi=pmix")) << outcome.output;
  EXPECT_EQ(run(0, "", "export SLURM_STEP_NUM_TASKS=8 SLURM_PROCID=3").output, "");  // the first one speaks
}

TEST_F(Doctor, WarnsOfFewFilesAndFewProcessorsWithoutFailing) {
  const Outcome outcome =
      run(0, "",
          "ulimit -n 200 && export OMP_NUM_THREADS=4 && taskset -p -c $(grep Cpus_allowed_list "
          "/proc/self/status | grep -o \"[0-9]*\" | head -n 1) $$ >/dev/null");

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_TRUE(outcome.says("warn  open files      up to 200")) << outcome.output;
  EXPECT_TRUE(outcome.says("threads on 1 processor")) << outcome.output;
  EXPECT_TRUE(outcome.says("fix: ulimit -n 4096")) << outcome.output;
}

TEST_F(Doctor, AMissingShardIsNamed) {
  const testing::TemporaryFolder data;
  fs::copy(fs::path(COHORT_TEST_DATA) / "data" / "nuclei", data.path() / "nuclei");
  fs::remove(data.path() / "nuclei" / "train-00001.h5");

  const Outcome outcome = run(2, fmt::format("--data {}/nuclei", data.path().string()));

  EXPECT_EQ(outcome.exit_code, 3) << outcome.output;
  EXPECT_TRUE(outcome.says("fail  dataset         ")) << outcome.output;
  EXPECT_TRUE(outcome.says("train-00001.h5: No such file or directory")) << outcome.output;
}

#ifdef COHORT_STORAGE_FAULTS
std::string fault(const std::string& file, const std::string& call, int error) {
  return fmt::format(
      "export LD_PRELOAD={} COHORT_FAULT_PATH={} COHORT_FAULT_CALL={} COHORT_FAULT_ERROR={} "
      "COHORT_FAULT_AT=1",
      COHORT_STORAGE_FAULTS, file, call, error);
}

TEST_F(Doctor, ABrokenDiskFailsItsCheckAndTheOthersGoOn) {
  const Outcome outcome = run(2, "", fault("speed-", "write", EIO));

  EXPECT_EQ(outcome.exit_code, 3) << outcome.output;
  EXPECT_TRUE(outcome.says("fail  disk speed      ")) << outcome.output;
  EXPECT_TRUE(outcome.says("cannot write a file: Input/output error")) << outcome.output;
  EXPECT_TRUE(outcome.says("ok    shared file     ")) << outcome.output;
  EXPECT_TRUE(nothing_is_left());
}

TEST_F(Doctor, AFullDiskFailsTheSharedFile) {
  const Outcome outcome = run(2, "", fault("state.h5", "open", ENOSPC));

  EXPECT_EQ(outcome.exit_code, 3) << outcome.output;
  EXPECT_TRUE(outcome.says("fail  shared file     ")) << outcome.output;
  EXPECT_TRUE(outcome.says("ok    file locks      ")) << outcome.output;
  EXPECT_TRUE(nothing_is_left());
}

// Ranks wait for each other while they write one file: HDF5 would let them wait for ever.
TEST_F(Doctor, ADiskThatFailsOnOneRankAloneFailsTheSharedFile) {
  const Outcome outcome = run(2, "", fault("state.h5", "write", EIO) + " COHORT_FAULT_RANK=1");

  EXPECT_EQ(outcome.exit_code, 3) << outcome.output;
  EXPECT_TRUE(outcome.says("fail  shared file     ")) << outcome.output;
  EXPECT_TRUE(outcome.says("ok    file locks      ")) << outcome.output;  // the next check runs
  EXPECT_TRUE(nothing_is_left());
}
#endif

}  // namespace
}  // namespace cohort
