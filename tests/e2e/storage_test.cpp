// A disk that fails: one message with the way out, exit code 3, and nothing lost. The faults come from
// tests/support/storage_faults.cpp.
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/spawn.h"
#include "support/temporary_folder.h"

namespace cohort {
namespace {

namespace fs = std::filesystem;
using test::Outcome;

constexpr int kPatience = 300;  // seconds: a job that takes longer hangs

const fs::path kTests = COHORT_TEST_DATA;
const fs::path kNucleiData = kTests / "data" / "nuclei";

struct Fault {
  std::string file, call;  ///< as storage_faults.cpp reads them
  int error, at;
  std::string what, fix;  ///< of the message
  std::string more;       ///< further variables: COHORT_FAULT_RANK=1
};

std::string faulty(const Fault& fault) {
  return fmt::format(
      "env LD_PRELOAD={} COHORT_FAULT_PATH={} COHORT_FAULT_CALL={} COHORT_FAULT_ERROR={} COHORT_FAULT_AT={} "
      "{}",
      COHORT_STORAGE_FAULTS, fault.file, fault.call, fault.error, fault.at, fault.more);
}

std::string ranks(int count) {
  return fmt::format("{} -n {}", COHORT_MPIEXEC, count);
}

std::string training(const fs::path& run) {
  return fmt::format(
      "{} train {} data.path={} run_dir={} reproducible=true sharding.strategy=full train.max_steps=6 "
      "checkpoint.every_steps=2 eval.every_epochs=0",
      COHORT_PROGRAM, (kTests / ".." / "configs" / "tests" / "nuclei.yaml").string(), kNucleiData.string(),
      run.string());
}

std::string content(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::vector<std::string> leftovers(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name.find(".partial") != std::string::npos || name.ends_with(".space")) names.push_back(name);
  }
  return names;
}

void expect_refusal(const Outcome& outcome, const Fault& fault) {
  const std::string shown =
      fmt::format("{} of {}, error {}\n{}", fault.call, fault.file, fault.error, outcome.output);
  EXPECT_EQ(outcome.exit_code, 3) << shown;
  EXPECT_EQ(outcome.occurrences(fault.what), 1) << shown;
  EXPECT_EQ(outcome.occurrences("  where: "), 1) << shown;
  EXPECT_EQ(outcome.occurrences("  fix:   "), 1) << shown;
  EXPECT_TRUE(outcome.says(fault.fix)) << shown;
}

constexpr const char* kRoom = "free some space";
constexpr const char* kReadOnly = "mounted read-only";
constexpr const char* kStale = "check the mount on this host";
constexpr const char* kBroken = "the disk or the network to it failed";

/// In this order, one after another, on a single run, which goes on each time from where it was.
std::vector<Fault> faults_of_a_run() {
  const std::string writing = "COHORT_FAULT_FLAG=write";
  return {{"/disturbed", "make_folder", EROFS, 1, "cannot create the folder: Read-only", kReadOnly, ""},
          {"dataset.json", "read", EIO, 1, "cannot read the file: Input/output error", kBroken, ""},
          {"train-00000.h5", "open", ESTALE, 1, "the shard cannot be opened: Stale file handle", kStale, ""},
          {"train-00000.h5", "read", EIO, 1, "the shard cannot be opened: Input/output error", kBroken, ""},
          {"config.yaml", "open", EROFS, 1, "cannot create the file: Read-only", kReadOnly, writing},
          {"metrics.jsonl", "write", ENOSPC, 2, "cannot write the metrics: No space left", kRoom, ""},
          {"checkpoints", "make_folder", EACCES, 1, "cannot create the folder: Permission denied",
           "permissions", ""},
          {"state.h5", "reserve", ENOSPC, 1, "for a checkpoint: No space left", kRoom, ""},
          {"state.h5", "write", ENOSPC, 1, "cannot write the file: No space left", kRoom, ""},
          {"state.h5", "write", EIO, 8, "state.h5", "fix:", ""},  // the values, through MPI-IO
          {"state.h5", "sync", EIO, 2, "cannot sync the file: Input/output error", kBroken, ""},
          {"meta.json", "write", ENOSPC, 1, "cannot write the file: No space left", kRoom, ""},
          {"meta.json", "rename", ESTALE, 2, "cannot rename the file into place: Stale", kStale, ""},
          {"latest", "write", ENOSPC, 1, "cannot write the file: No space left", kRoom, ""},
          {"weights.safetensors", "write", ENOSPC, 2, "cannot write the file: No space left", kRoom, ""}};
}

void train_through(const std::vector<Fault>& faults, int count) {
  const testing::TemporaryFolder folder;
  const fs::path calm = folder.path() / "calm", disturbed = folder.path() / "disturbed";
  const Outcome whole = test::spawn(training(calm), kPatience);
  ASSERT_EQ(whole.exit_code, 0) << whole.output;

  for (const Fault& fault : faults) {
    const Outcome outcome =
        test::spawn(fmt::format("{} {} {}", ranks(count), faulty(fault), training(disturbed)), kPatience);
    expect_refusal(outcome, fault);
  }
  const Outcome last = test::spawn(fmt::format("{} {}", ranks(count), training(disturbed)), kPatience);

  ASSERT_EQ(last.exit_code, 0) << last.output;
  EXPECT_EQ(leftovers(disturbed), std::vector<std::string>{});
  EXPECT_EQ(content(disturbed / "weights.safetensors"), content(calm / "weights.safetensors"));
}

TEST(Storage, ARunGoesOnAfterEveryFaultWithTheSameBits) {
  train_through(faults_of_a_run(), 1);
}

// The last rank alone meets the fault, or rank 0, which writes for all.
TEST(Storage, OnFourRanksOneFaultIsOneMessage) {
  const std::string last = "COHORT_FAULT_RANK=3";
  train_through(
      {{"train-00000.h5", "open", ESTALE, 1, "the shard cannot be opened: Stale file handle", kStale, last},
       {"state.h5", "write", EIO, 3, "state.h5", "fix:", last},
       {"state.h5", "write", EIO, 20, "state.h5", "fix:", "COHORT_FAULT_RANK=0"},
       {"state.h5", "reserve", ENOSPC, 1, "for a checkpoint: No space left", kRoom, ""},
       {"metrics.jsonl", "write", ENOSPC, 2, "cannot write the metrics: No space left", kRoom, ""},
       {"meta.json", "write", ENOSPC, 1, "cannot write the file: No space left", kRoom, ""}},
      4);
}

/// What a command with one file as its result leaves behind when the disk refuses it.
void expect_nothing_written(const std::string& command, const fs::path& out, const Fault& fault) {
  const Outcome outcome = test::spawn(fmt::format("{} {}", faulty(fault), command), kPatience);

  expect_refusal(outcome, fault);
  EXPECT_FALSE(fs::exists(out)) << out;
  EXPECT_EQ(leftovers(out.parent_path()), std::vector<std::string>{});
}

TEST(Storage, CommandsThatWriteAFileLeaveNoneBehind) {
  const testing::TemporaryFolder folder;
  const fs::path run = folder.path() / "run", weights = folder.path() / "out" / "w.safetensors",
                 features = folder.path() / "out" / "f.h5";
  fs::create_directories(weights.parent_path());
  ASSERT_EQ(test::spawn(training(run), kPatience).exit_code, 0);
  const std::string export_it =
      fmt::format("{} checkpoint export {} --out {}", COHORT_PROGRAM, run.string(), weights.string());
  const std::string extract = fmt::format("{} extract --run {} --split test --out {}", COHORT_PROGRAM,
                                          run.string(), features.string());

  expect_nothing_written(
      export_it, weights,
      {"w.safetensors", "write", ENOSPC, 1, "cannot write the file: No space left", kRoom, ""});
  expect_nothing_written(
      export_it, weights,
      {"w.safetensors", "open", EROFS, 1, "cannot create the file: Read-only", kReadOnly, ""});
  expect_nothing_written(export_it, weights, {"state.h5", "read", EIO, 40, "Input/output error", "fix:", ""});
  expect_nothing_written(extract, features,
                         {"f.h5", "write", ENOSPC, 1, "cannot write the file: No space left", kRoom, ""});
  expect_nothing_written(extract, features, {"f.h5", "sync", EIO, 1, "cannot sync the file", kBroken, ""});
}

TEST(Storage, AConversionGoesOnAfterAFault) {
  const testing::TemporaryFolder folder;
  const fs::path out = folder.path() / "a" / "data", calm = folder.path() / "b" / "data";
  const auto convert = [&](const fs::path& target) {
    return fmt::format("{} synth --contexts 3 --images-per-context 8 --size 8 --out {}", COHORT_DATA_PROGRAM,
                       target.string());
  };
  ASSERT_EQ(test::spawn(convert(calm), kPatience).exit_code, 0);

  for (const Fault& fault : std::vector<Fault>{
           {"train-00000.h5", "reserve", ENOSPC, 1, "there is no room for", kRoom, ""},
           {"a/data/train-00000", "write", ENOSPC, 1, "No space left", kRoom, ""},
           {"a/data/train-00000", "write", EIO, 6, "Input/output error", kBroken, ""},
           {"dataset.json", "rename", ESTALE, 1, "cannot rename the file into place: Stale", kStale, ""}}) {
    expect_refusal(test::spawn(fmt::format("{} {}", faulty(fault), convert(out)), kPatience), fault);
    EXPECT_FALSE(fs::exists(out / "dataset.json"));
  }
  const Outcome last = test::spawn(convert(out), kPatience);

  ASSERT_EQ(last.exit_code, 0) << last.output;
  EXPECT_EQ(content(out / "dataset.json"), content(calm / "dataset.json"));
  EXPECT_EQ(test::spawn(fmt::format("{} verify {}", COHORT_DATA_PROGRAM, out.string())).exit_code, 0);
}

TEST(Storage, VerifyNamesAShardThatCannotBeRead) {
  const Fault fault{"train-00001.h5", "read", EIO, 1, "", "", ""};
  const Outcome outcome = test::spawn(
      fmt::format("{} {} verify {}", faulty(fault), COHORT_DATA_PROGRAM, kNucleiData.string()), kPatience);

  EXPECT_EQ(outcome.exit_code, 3) << outcome.output;
  EXPECT_TRUE(outcome.says("train-00001.h5")) << outcome.output;
  EXPECT_TRUE(outcome.says("Input/output error")) << outcome.output;
}

// The disk is good: what lies in /dev/shm, or that nothing can, is no business of files.
TEST(Storage, FilesNeedNoSharedMemory) {
  if (test::spawn("unshare -rm true").exit_code != 0) GTEST_SKIP() << "this system lets nobody mount";
  for (const char* options : {"size=4k", "ro"}) {
    const testing::TemporaryFolder folder;
    const Outcome outcome = test::spawn(
        fmt::format("unshare -rm sh -c 'mount -t tmpfs -o {} none /dev/shm && {} synth --contexts 1 "
                    "--images-per-context 4 --size 8 --out {}/data && {}'",
                    options, COHORT_DATA_PROGRAM, folder.path().string(), training(folder.path() / "run")),
        kPatience);

    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_TRUE(fs::exists(folder.path() / "data" / "dataset.json")) << outcome.output;
    EXPECT_TRUE(fs::exists(folder.path() / "run" / "checkpoints" / "latest")) << outcome.output;
  }
}

}  // namespace
}  // namespace cohort
