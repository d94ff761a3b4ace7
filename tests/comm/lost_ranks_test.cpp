// Ranks that die, hang or diverge: the job ends soon, with one message that says who, where and in what, and
// nothing of it is left.
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <unistd.h>
#include <utility>

#include <gtest/gtest.h>

#include "support/spawn.h"
#include "support/temporary_folder.h"

namespace cohort::test {
namespace {

namespace fs = std::filesystem;

/// Runs a case of run_ranks_program.cpp on three ranks.
class LostRanks : public ::testing::Test {
 protected:
  Outcome run(const std::string& name, const std::string& launcher = MPIEXEC) {
    const Outcome outcome =
        spawn_ranks(launcher, 3, fmt::format("{} {} {}", RUN_RANKS_PROGRAM, name, failures().string()));
    // The folder's name tells these processes from those of other tests.
    EXPECT_EQ(processes_left(fmt::format("^{} {} {}$", RUN_RANKS_PROGRAM, name, failures().string())), "");
    return outcome;
  }

  [[nodiscard]] fs::path failures() const { return folder_.path() / "failure"; }
  [[nodiscard]] std::string report(int rank) const {
    std::ifstream file(failures() / fmt::format("rank-{:05}.txt", rank));
    return {std::istreambuf_iterator<char>(file), {}};
  }

  cohort::testing::TemporaryFolder folder_;
};

std::string host() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

void expect_text(const std::string& text, std::initializer_list<std::string> parts) {
  for (const std::string& part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << "missing: " << part << "\nin: " << text;
}

// The first operation of a program compares the commands of the ranks.
const std::string kWaited = fmt::format(
    "prog: all_reduce f32 of 40 B (operation 3 of communicator 'world') waited 1.0 s for rank 1 on {}\n"
    "  where: step 7, backward\n",
    host());

TEST_F(LostRanks, OneThatComputesForEverIsNamedWithItsStage) {
  const Outcome outcome = run("computes");
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_EQ(outcome.occurrences("prog: "), 1) << outcome.output;
  expect_text(outcome.output,
              {"[rank 0/3] " + kWaited, fmt::format("rank 1 on {}: step 7, forward for", host()),
               "barrier of 0 B (operation 2 of communicator 'world'), done"});
  expect_text(report(0),
              {kWaited, "all_reduce f32 of 40 B (operation 3 of communicator 'world'), under way"});
  expect_text(report(1), {"stack of the main thread", "nanosleep", "step 7, forward"});
}

TEST_F(LostRanks, OneThatIsStoppedDoesNotAnswer) {
  const Outcome outcome = run("is_stopped");
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_EQ(outcome.occurrences("prog: "), 1) << outcome.output;
  expect_text(outcome.output,
              {"[rank 0/3] " + kWaited, fmt::format("rank 1 on {}: no answer", host()), failures().string()});
  expect_text(report(2), {kWaited});
}

// mpirun would end such a job at once, mostly before anybody can say anything; here it lets the others go on.
TEST_F(LostRanks, OneThatIsKilledIsToldOfByItsNeighbour) {
  const Outcome outcome = run("is_killed", MPIEXEC " --enable-recovery");
  EXPECT_EQ(outcome.occurrences("prog: "), 1) << outcome.output;
  expect_text(outcome.output, {fmt::format("[rank 2/3] prog: rank 1 of 3 on {} has died\n", host())});
  expect_text(report(2), {fmt::format("rank 1 of 3 on {} has died", host()), "step 7, backward"});
}

TEST_F(LostRanks, OneThatIsKilledEndsTheJobWithTheCodeOfMpirun) {
  EXPECT_EQ(run("is_killed").exit_code, 137);
}

TEST_F(LostRanks, FatalSignalsAreReportedByTheRankItself) {
  for (const auto& [name, signal] : {std::pair("segfaults", "SIGSEGV"), std::pair("aborts", "SIGABRT")}) {
    const Outcome outcome = run(name);
    EXPECT_NE(outcome.exit_code, 0);  // 128 + the signal, unless a sanitizer takes it
    const std::string line = fmt::format("[rank 1/3] cohort: {} in step 7, backward\n", signal);
    EXPECT_TRUE(outcome.says(line)) << outcome.output;
    expect_text(report(1), {line, "barrier of 0 B (operation 2 of communicator 'world'), done", "libc.so"});
#ifdef COHORT_BACKTRACE
    expect_text(report(1), {"rank_one", "/tests/comm/run_ranks_program.cpp:"});
#endif
  }
}

TEST_F(LostRanks, OneThatDoesNotJoinABlockingCallIsNamed) {
  const Outcome outcome = run("does_not_split");
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_EQ(outcome.occurrences("prog: "), 1) << outcome.output;
  EXPECT_TRUE(outcome.says("prog: MPI_Comm_dup waited 1.0 s for rank 1\n")) << outcome.output;
}

TEST_F(LostRanks, AJobInWhichNobodyDoesAnythingEnds) {
  const Outcome outcome = run("stands_still");
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_EQ(outcome.occurrences("prog: "), 1) << outcome.output;
  expect_text(outcome.output,
              {"[rank 0/3] prog: no rank has done anything for 1.0 s: ", "  where: step 7, data\n",
               fmt::format("rank 1 on {}: step 7, data for", host()), "rank 2 on "});
  expect_text(report(2), {"stack of the main thread", "nanosleep", "step 7, data"});
}

TEST_F(LostRanks, AJobInWhichOneRankWorksGoesOn) {
  const Outcome outcome = run("one_works_for_longer_than_the_timeout");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.output, "");
}

// The first three complete, or fail inside MPI; the last one would wait for ever. The time-out is far away.
TEST_F(LostRanks, RanksThatDivergeAreFoundBeforeTheTimeout) {
  const std::pair<const char*, std::array<std::string, 2>> cases[] = {
      {"differs_in_size", {"broadcast from 0 f32 of 40 B", "broadcast from 0 f32 of 4000 B"}},
      {"differs_in_operation", {"all_reduce f32 of 40 B", "all_reduce max f32 of 40 B"}},
      {"differs_and_waits", {"all_reduce f32 of 400 B", "barrier of 0 B"}}};
  for (const auto& [name, operations] : cases) {
    SCOPED_TRACE(name);
    const Outcome outcome = run(name);
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_EQ(outcome.occurrences("prog: "), 1) << outcome.output;
    expect_text(outcome.output, {"prog: ranks called different operations: ", operations[0], operations[1],
                                 "operation 3 of communicator 'world'", "rank 1", "a defect of Cohort"});
  }
}

}  // namespace
}  // namespace cohort::test
