// Exit codes and messages of whole jobs: one message a failure, whatever the ranks do.
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "support/spawn.h"

namespace cohort::test {
namespace {

Outcome run(const std::string& name, int ranks = 3) {
  return spawn_ranks(MPIEXEC, ranks, fmt::format("{} {}", RUN_RANKS_PROGRAM, name));
}

const std::string kMessage = "prog: shard is damaged\n  where: train-3.h5\n  fix:   fetch it again\n";
const std::string kAgreedMessage =
    "prog: shard is damaged\n  where: rank 1 of 3: train-3.h5\n  fix:   fetch it again\n";

TEST(RunRanks, ReturnsTheCodeOfTheBody) {
  const Outcome fine = run("fine");
  EXPECT_EQ(fine.exit_code, 0) << fine.output;
  EXPECT_EQ(fine.output, "");
  EXPECT_EQ(run("stopped").exit_code, 75);
}

// The job ends with the code of a data error, and nothing but `message` is said by the program. Ranks that
// agree leave without MPI_Abort; otherwise mpirun mostly names it, but not always.
void expect_one_message(const std::string& name, const std::string& message, bool agreed) {
  SCOPED_TRACE(name);
  const Outcome outcome = run(name);
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_EQ(outcome.occurrences("prog: "), 1) << outcome.output;
  EXPECT_TRUE(outcome.says(message)) << outcome.output;
  if (agreed) {
    EXPECT_FALSE(outcome.says("MPI_ABORT")) << outcome.output;
  }
}

TEST(RunRanks, OneRankThrows) {
  expect_one_message("one_throws", "[rank 1/3] " + kMessage, false);
  expect_one_message("one_throws_late", "[rank 1/3] " + kMessage + "  rank:  rank 1 of 3 on ", false);
}

TEST(RunRanks, AllRanksThrowAlike) {
  expect_one_message("all_throw", kMessage, true);
}

TEST(RunRanks, AgreedErrorsAreSaidByRankZero) {
  expect_one_message("agreed", kAgreedMessage, true);
  expect_one_message("agreed_late", kAgreedMessage, true);
}

TEST(RunRanks, AllRanksThrowDifferentErrors) {
  const Outcome outcome = run("all_throw_different");
  EXPECT_EQ(outcome.exit_code, 2);
  for (const char* text : {"prog: text 0\n", "prog: text 1\n", "prog: text 2\n"}) {
    EXPECT_EQ(outcome.occurrences(text), 1) << outcome.output;
  }
  EXPECT_FALSE(outcome.says("MPI_ABORT")) << outcome.output;
}

TEST(RunRanks, ErrorsAgreedByAPartOfTheRanksEndTheJob) {
  const Outcome outcome = run("agreed_in_a_part");
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_TRUE(outcome.says("prog: shard is damaged")) << outcome.output;
}

TEST(RunRanks, NamesOtherExceptions) {
  const std::pair<const char*, const char*> cases[] = {
      {"bug", "[rank 1/3] prog: sum is 2"},
      {"torch", "[rank 1/3] prog: mat1 and mat2 shapes cannot be multiplied"}};
  for (const auto& [name, message] : cases) {
    const Outcome outcome = run(name);
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_TRUE(outcome.says(message)) << outcome.output;
    EXPECT_EQ(outcome.says("a defect of Cohort"), name == std::string("bug")) << outcome.output;
    EXPECT_FALSE(outcome.says("frame #")) << outcome.output;
  }
}

TEST(RunRanks, MemoryHasACodeOfItsOwn) {
  for (const char* name : {"memory", "allocates"}) {
    const Outcome outcome = run(name);
    EXPECT_EQ(outcome.exit_code, 6);
    EXPECT_TRUE(outcome.says("[rank 1/3] prog: out of memory\n")) << outcome.output;
    EXPECT_TRUE(outcome.says("  fix:   use fewer images")) << outcome.output;
  }
}

// Few lines meet the full disk in the last flush, many before.
TEST(RunRanks, OutputThatCannotBeWrittenIsAnError) {
  for (const char* name : {"alone_prints", "prints", "prints_much"}) {
    const Outcome outcome = spawn(fmt::format("sh -c '{} {} >/dev/full'", RUN_RANKS_PROGRAM, name));
    EXPECT_EQ(outcome.exit_code, 3) << name;
    EXPECT_EQ(outcome.output.find("prog: cannot write the output: No space left on device\n"
                                  "  where: standard output\n"),
              0U)
        << outcome.output;
  }
}

TEST(RunRanks, ALateRankEndsTheJobWithItsName) {
  const Outcome outcome = run("timeout");
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_TRUE(outcome.says("for rank 1 on ")) << outcome.output;
}

TEST(RunRanks, WithoutMpirunThereIsOneRank) {
  const Outcome fine = spawn(fmt::format("{} fine", RUN_RANKS_PROGRAM));
  EXPECT_EQ(fine.exit_code, 0) << fine.output;
  const Outcome failing = spawn(fmt::format("{} all_throw", RUN_RANKS_PROGRAM));
  EXPECT_EQ(failing.exit_code, 3);
  EXPECT_EQ(failing.output, kMessage);
}

TEST(RunRanks, RunAloneNeedsNoMpi) {
  const Outcome outcome = spawn(fmt::format("{} alone", RUN_RANKS_PROGRAM));
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_EQ(outcome.output, kMessage);
}

// Docker gives 64 MiB, some sites a read-only one; what ranks share then lies elsewhere.
TEST(RunRanks, GoOnWithoutSharedMemoryAndSayWhatItCosts) {
  if (spawn("unshare -rm true").exit_code != 0) GTEST_SKIP() << "this system lets nobody mount";
  const std::pair<const char*, const char*> cases[] = {{"size=64k", "/dev/shm has room for 64.0 KiB, ranks"},
                                                       {"ro", "/dev/shm is read-only on "}};
  for (const auto& [options, problem] : cases) {
    const Outcome outcome =
        spawn(fmt::format("unshare -rm sh -c 'mount -t tmpfs -o {} none /dev/shm && {} -n 2 {} exchanges'",
                          options, MPIEXEC, RUN_RANKS_PROGRAM));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_EQ(outcome.occurrences("warning: "), 1) << outcome.output;
    EXPECT_TRUE(outcome.says(problem)) << outcome.output;
    EXPECT_EQ(outcome.occurrences("\n"), 1) << outcome.output;  // nothing of Open MPI's own
  }
}

}  // namespace
}  // namespace cohort::test
