// Who owns a run folder: the living, one at a time.
#include "cohort/train/run_owner.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <future>
#include <string>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cohort/core/file.h"
#include "cohort/core/host.h"

#include "support/temporary_folder.h"

namespace cohort::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using namespace std::chrono_literals;

const RunOwner::Lost kNeverLost = [](const Error& error) { ADD_FAILURE() << error.what(); };
/// For what is to be decided without waiting.
constexpr OwnerPatience kAtOnce{.grace = 20ms, .watch = 1h};

class Owner : public ::testing::Test {
 protected:
  [[nodiscard]] fs::path file() const { return run_ / "owner.json"; }
  [[nodiscard]] Json content() const { return Json::parse(read_file(file())); }

  /// The file of a process that was killed, with some keys changed afterwards.
  void leave_by_a_dead_process(const std::function<void(Json&)>& change = [](Json&) {}) {
    const pid_t child = ::fork();
    if (child == 0) {
      const RunOwner owner(run_, "prog dead", kNeverLost);
      ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    Json json = content();
    change(json);
    write_file_atomically(file(), json.dump() + "\n");
  }
  std::string refusal(const OwnerPatience& patience = kAtOnce) {
    try {
      const RunOwner owner(run_, "prog second", kNeverLost, patience);
    } catch (const UsageError& error) {
      return error.text().what;
    }
    return "";
  }

  testing::TemporaryFolder folder_;
  fs::path run_ = folder_.path() / "run";
};

TEST_F(Owner, IsNamedWhileItWorksAndLeavesNothing) {
  {
    const RunOwner owner(run_, "prog first", kNeverLost);
    EXPECT_EQ(content().at("program"), "prog first");
    EXPECT_EQ(content().at("host"), host_name());
    EXPECT_EQ(content().at("process"), ::getpid());
  }
  EXPECT_FALSE(fs::exists(run_)) << "made for nothing";
  fs::create_directory(run_);
  { const RunOwner owner(run_, "prog first", kNeverLost); }
  EXPECT_TRUE(fs::is_empty(run_));
}

TEST_F(Owner, ASecondIsRefusedAndTheFirstIsNotDisturbed) {
  const RunOwner owner(run_, "prog first", kNeverLost, {.beat = 1h});
  const std::string before = read_file(file());

  EXPECT_EQ(refusal().find(fmt::format("the run folder is in use by prog first, process {} on {}, since 2",
                                       ::getpid(), host_name())),
            0U);

  EXPECT_EQ(read_file(file()), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(run_), {}), 1);
}

TEST_F(Owner, IsTakenOverAtOnceFromAKilledProcess) {
  leave_by_a_dead_process();

  const RunOwner owner(run_, "prog second", kNeverLost, kAtOnce);

  EXPECT_EQ(content().at("program"), "prog second");
  EXPECT_EQ(std::distance(fs::directory_iterator(run_), {}), 1);
}

TEST_F(Owner, IsTakenOverFromAProcessThatNobodyHasCollectedYet) {
  const pid_t child = ::fork();
  if (child == 0) {
    const RunOwner owner(run_, "prog dead", kNeverLost);
    ::kill(::getpid(), SIGKILL);
  }
  siginfo_t ended{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);

  EXPECT_EQ(refusal(), "");
  ::waitpid(child, nullptr, 0);
}

TEST_F(Owner, ANumberThatAnotherProcessHasNowIsADeadOwner) {
  leave_by_a_dead_process([](Json& json) {
    json["process"] = ::getpid();
    json["started"] = json["started"].get<std::uint64_t>() + 1;
  });

  EXPECT_EQ(refusal(), "");
}

TEST_F(Owner, AnEarlierStartOfTheSameJobIsDead) {
  const auto of_job = [](Json& json) {
    json["host"] = "elsewhere";
    json["job"] = "77";
  };
  leave_by_a_dead_process(of_job);
  ::setenv("SLURM_JOB_ID", "77", 1);
  ::setenv("SLURM_RESTART_COUNT", "1", 1);

  EXPECT_EQ(refusal(), "");

  leave_by_a_dead_process([&](Json& json) { of_job(json), json["restarts"] = "1"; });
  EXPECT_EQ(refusal({.watch = 50ms}), "") << "the same start of the job, elsewhere: by its beat";
  ::unsetenv("SLURM_JOB_ID");
  ::unsetenv("SLURM_RESTART_COUNT");
}

TEST_F(Owner, OnAnotherHostIsDeadOnceItsBeatStands) {
  leave_by_a_dead_process([](Json& json) { json["host"] = "elsewhere"; });

  EXPECT_EQ(refusal({.watch = 50ms}), "");
}

TEST_F(Owner, OnAnotherHostIsAliveAsLongAsItBeats) {
  RunOwner owner(run_, "prog first", kNeverLost, {.beat = 5ms});
  Json other = content();
  other["machine"] = "a container";  // keeps the token, and so the beat
  write_file_atomically(file(), other.dump() + "\n");

  EXPECT_EQ(refusal().find("the run folder is in use by prog first"), 0U);
}

TEST_F(Owner, AFileThatWasNeverFinishedIsTakenOver) {
  fs::create_directory(run_);
  write_file_atomically(file(), "");

  EXPECT_EQ(refusal({.watch = 50ms}), "");
}

TEST_F(Owner, OfManyWhoSeeADeadOwnerOneWins) {
  constexpr int kRounds = 10, kTakers = 8;
  for (int round = 0; round < kRounds; ++round) {
    leave_by_a_dead_process();
    std::atomic<int> owners{0};
    std::promise<void> all_have_tried;
    const auto end = all_have_tried.get_future().share();
    std::atomic<int> tried{0};
    std::vector<std::jthread> takers;
    for (int i = 0; i < kTakers; ++i) {
      takers.emplace_back([&] {
        std::unique_ptr<RunOwner> owner;
        try {
          owner = std::make_unique<RunOwner>(run_, "prog taker", kNeverLost, kAtOnce);
          ++owners;
        } catch (const UsageError&) {
        }
        if (++tried == kTakers) all_have_tried.set_value();
        end.wait();
      });
    }
    takers.clear();
    EXPECT_EQ(owners, 1);
  }
}

TEST_F(Owner, ThatIsDeadAsWellDoesNotStandInTheWay) {
  leave_by_a_dead_process();
  fs::copy_file(file(), run_ / "owner.json.next");  // killed while it took over

  EXPECT_EQ(refusal(), "");
}

/// What the owner is told when `happen` befalls its folder.
std::string loss(const fs::path& run, const std::function<void()>& happen) {
  std::promise<std::string> told;
  const RunOwner owner(run, "prog first", [&](const Error& error) { told.set_value(error.text().what); },
                       {.beat = 5ms});
  happen();
  return told.get_future().get();
}

TEST_F(Owner, LearnsThatItsFolderWasTakenOver) {
  EXPECT_EQ(loss(run_,
                 [&] {
                   Json other = content();
                   other["token"] = "another";
                   other["program"] = "prog second";
                   other["since"] = "now";
                   write_file_atomically(file(), other.dump() + "\n");
                 }),
            fmt::format("the run folder was taken over by prog second, process {} on {}, since now",
                        ::getpid(), host_name()));
  EXPECT_EQ(content().at("token"), "another") << "left to its owner";
}

TEST_F(Owner, LearnsThatItsFolderIsGone) {
  EXPECT_EQ(loss(run_, [&] { fs::rename(run_, folder_.path() / "moved"); }),
            "the run folder was removed or moved while it was in use");
  EXPECT_FALSE(fs::exists(run_));
}

TEST_F(Owner, FollowsNoLinkAndWaitsForNoFifo) {
  fs::create_directory(run_);
  fs::create_symlink(folder_.write("secret", "old"), file());
  EXPECT_THROW(refusal(), DataError);
  EXPECT_EQ(read_file(folder_.path() / "secret"), "old");

  fs::remove(file());
  ASSERT_EQ(::mkfifo(file().c_str(), 0600), 0);
  EXPECT_THROW(refusal(), DataError);
}

TEST_F(Owner, OwnsTheRunsThatFilesLieIn) {
  folder_.write("run/metrics.jsonl", "");
  {
    const auto owners = own_runs_of(
        {run_ / "explain" / "explain.json", run_ / "x.h5", "", folder_.path() / "elsewhere.h5"}, "prog");
    EXPECT_EQ(owners.size(), 1U);
    EXPECT_TRUE(fs::exists(file()));
  }
  EXPECT_FALSE(fs::exists(file()));
}

}  // namespace
}  // namespace cohort::train
