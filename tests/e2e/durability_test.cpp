// In which order files are written, synced and renamed, as tests/support/storage_faults.cpp sees it: at no
// instant would a power cut leave half a file under its name, or a pointer to what is not there.
#include <algorithm>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/spawn.h"
#include "support/storage_log.h"
#include "support/temporary_folder.h"

namespace cohort {
namespace {

namespace fs = std::filesystem;
using testing::PowerCut;
using testing::StorageCall;

const fs::path kTestFolder = COHORT_TEST_DATA;

class Durability : public ::testing::Test {
 protected:
  std::vector<StorageCall> calls_of(const std::string& command, const fs::path& watched) {
    const fs::path log = folder.path() / "log";
    fs::remove(log);
    const test::Outcome outcome = test::spawn(fmt::format("env LD_PRELOAD={} COHORT_STORAGE_LOG={} {}",
                                                          COHORT_STORAGE_FAULTS, log.string(), command),
                                              60);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    std::vector<StorageCall> calls = testing::read_storage_log(log, watched);
    EXPECT_FALSE(calls.empty()) << "nothing was written down";
    return calls;
  }

  /// What is renamed into place is whole, and its name is there to stay when the command ends.
  static void expect_no_loss(const std::vector<StorageCall>& calls) {
    PowerCut storage;
    for (const StorageCall& call : calls) EXPECT_EQ(storage.take(call), "");
    EXPECT_EQ(storage.lost(), std::vector<std::string>{});
  }

  /// The first call from `from` on that `is` one.
  static std::size_t next(const std::vector<StorageCall>& calls, std::size_t from,
                          const std::function<bool(const StorageCall&)>& is) {
    const auto found = std::find_if(calls.begin() + static_cast<std::ptrdiff_t>(std::min(from, calls.size())),
                                    calls.end(), is);
    return static_cast<std::size_t>(found - calls.begin());
  }
  static std::size_t next(const std::vector<StorageCall>& calls, std::size_t from, const std::string& call,
                          const fs::path& path) {
    return next(calls, from, [&](const StorageCall& each) { return each.call == call && each.path == path; });
  }
  /// The rename that puts `path` into place.
  static std::size_t arrival(const std::vector<StorageCall>& calls, const fs::path& path,
                             std::size_t from = 0) {
    return next(calls, from, [&](const StorageCall& each) {
      return (each.call == "rename" || each.call == "exchange") && each.other == path;
    });
  }

  testing::TemporaryFolder folder;
};

class DurableRun : public Durability {
 protected:
  std::string train(int ranks) const {
    return fmt::format(
        "{} -n {} {} train {} data.path={} run_dir={} sharding.strategy=full train.max_steps=6 "
        "checkpoint.every_steps=2 eval.every_epochs=0",
        COHORT_MPIEXEC, ranks, COHORT_PROGRAM,
        (kTestFolder / ".." / "configs" / "tests" / "nuclei.yaml").string(),
        (kTestFolder / "data" / "nuclei").string(), run.string());
  }
  /// Every rank has written to the state, and synced it after its last write: on other hosts nobody else
  /// could.
  void expect_every_rank_to_sync(const std::vector<StorageCall>& calls, int step) const {
    const std::string state = checkpoint(step).string() + ".partial/state.h5";
    std::map<int, std::size_t> written, synced;
    for (std::size_t i = 0; i < calls.size(); ++i) {
      if (calls[i].path != state) continue;
      if (calls[i].call == "write") written[calls[i].process] = i;
      if (calls[i].call == "sync") synced[calls[i].process] = i;
    }
    EXPECT_EQ(written.size(), 2U);
    for (const auto& [process, place] : written) {
      EXPECT_LT(place, synced[process]);
      EXPECT_LT(synced[process], arrival(calls, checkpoint(step)));
    }
  }
  fs::path checkpoint(int step) const { return checkpoints / fmt::format("step-{:08}", step); }

  const fs::path run = folder.path() / "run", checkpoints = run / "checkpoints";
};

TEST_F(DurableRun, NothingIsPublishedBeforeItIsOnTheDisk) {
  // At once, so that no line of a later step comes between.
  const std::vector<StorageCall> calls = calls_of(train(2) + " checkpoint.async=false", run);
  expect_no_loss(calls);

  PowerCut storage;
  std::size_t at = 0;
  for (const int step : {2, 4, 6}) {
    SCOPED_TRACE(fmt::format("step {}", step));
    const std::size_t placed = arrival(calls, checkpoint(step), at);
    ASSERT_LT(placed, calls.size());
    expect_every_rank_to_sync(calls, step);
    for (; at < placed; ++at) (void)storage.take(calls[at]);
    EXPECT_EQ(storage.lost_of(calls[placed].path), std::vector<std::string>{});
    EXPECT_EQ(storage.lost_of((run / "metrics.jsonl").string()), std::vector<std::string>{})
        << "the steps before a checkpoint are on record with it";
    EXPECT_FALSE(storage.has_unsafe_name(checkpoints.string())) << "and so is their folder";

    const std::size_t secured = next(calls, placed, "sync", checkpoints);
    const std::size_t pointed = next(calls, placed, [&](const StorageCall& each) {
      return each.call == "create" && each.path.starts_with((checkpoints / "latest").string());
    });
    ASSERT_LT(pointed, calls.size());
    EXPECT_LT(secured, pointed) << "latest names what is on the disk";
    const std::size_t before = arrival(calls, checkpoints / "latest", placed);
    EXPECT_LT(pointed, before);
    for (std::size_t i = placed + 1; i < before; ++i)
      EXPECT_FALSE(calls[i].call.starts_with("remove") && calls[i].path.starts_with(checkpoints.string()))
          << "old checkpoints stay until the new one is named: " << calls[i].path;
  }
}

// A checkpoint that is written anew is exchanged for the old one: at no instant is there none.
TEST_F(DurableRun, ACheckpointOfTheSameStepIsExchanged) {
  ASSERT_EQ(test::spawn(train(1), 60).exit_code, 0);
  fs::remove(checkpoint(6) / "meta.json");
  const std::vector<StorageCall> calls = calls_of(train(1), run);
  expect_no_loss(calls);
  const std::size_t placed = arrival(calls, checkpoint(6));
  ASSERT_LT(placed, calls.size());
  EXPECT_EQ(calls[placed].call, "exchange");
  for (std::size_t i = 0; i < placed; ++i) {
    EXPECT_FALSE(calls[i].call.starts_with("remove") && calls[i].path.starts_with(checkpoint(6).string()) &&
                 !calls[i].path.starts_with(checkpoint(6).string() + ".partial"))
        << calls[i].path;
  }
}

TEST_F(DurableRun, FilesOfCommandsAreOnTheDiskBeforeTheyHaveTheirNames) {
  ASSERT_EQ(test::spawn(train(1), 60).exit_code, 0);
  const fs::path out = folder.path() / "out";
  fs::create_directories(out);
  const std::string of_run = fmt::format("--run {}", run.string());
  const std::vector<std::pair<std::string, std::string>> commands{
      {"features.h5", fmt::format("extract {} --split test --out ", of_run)},
      {"weights.safetensors", fmt::format("checkpoint export {} --out ", run.string())}};
  for (const auto& [name, command] : commands) {
    SCOPED_TRACE(name);
    const auto calls = calls_of(fmt::format("{} {}{}", COHORT_PROGRAM, command, (out / name).string()), out);
    EXPECT_LT(arrival(calls, out / name), calls.size());
    expect_no_loss(calls);
  }
}

class DurableConversion : public Durability, public ::testing::WithParamInterface<const char*> {};

// Shards first, each with its receipt behind it; dataset.json when all are there; then receipts go.
TEST_P(DurableConversion, TheDescriptionComesBehindEveryShardAndBeforeReceiptsGo) {
  const fs::path out = folder.path() / "data";
  const auto calls = calls_of(
      fmt::format("{} -n 2 {} synth --contexts 3 --images-per-context 40 --size 24 --shard-size 64KiB "
                  "--codec {} --hold-out-images 4 --out {}",
                  COHORT_MPIEXEC, COHORT_DATA_PROGRAM, GetParam(), out.string()),
      out);
  expect_no_loss(calls);

  const std::size_t described = next(calls, 0, [&](const StorageCall& each) {
    return each.call == "create" && each.path.starts_with((out / "dataset.json").string());
  });
  const std::size_t named = arrival(calls, out / "dataset.json");
  ASSERT_LT(named, calls.size());
  PowerCut storage;
  for (std::size_t i = 0; i < described; ++i) (void)storage.take(calls[i]);
  EXPECT_EQ(storage.lost(), std::vector<std::string>{}) << "shards are there to stay before they are named";
  std::size_t shards = 0;
  for (const auto& entry : fs::directory_iterator(out)) {
    if (entry.path().extension() != ".h5") continue;
    ++shards;
    const fs::path receipt = entry.path().string() + ".done";
    EXPECT_LT(arrival(calls, entry.path()), arrival(calls, receipt)) << receipt;
    EXPECT_LT(arrival(calls, receipt), described) << receipt;
    EXPECT_LT(next(calls, named, "sync", out), next(calls, 0, "remove", receipt)) << receipt;
  }
  EXPECT_GE(shards, 4U);
}

INSTANTIATE_TEST_SUITE_P(Codecs, DurableConversion, ::testing::Values("raw", "png"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace cohort
