// Exit codes and messages of whole jobs: one message a failure, whatever the ranks do.
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

TEST(RunRanks, OneRankThrows) {
  const Outcome outcome = run("one_throws");
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_EQ(outcome.occurrences("[rank 1/3] " + kMessage), 1) << outcome.output;
  EXPECT_EQ(outcome.occurrences("prog: "), 1) << outcome.output;
}

TEST(RunRanks, OneRankThrowsWithOperationsUnderWay) {
  const Outcome outcome = run("one_throws_late");
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_EQ(outcome.occurrences("[rank 1/3] " + kMessage), 1) << outcome.output;
}

TEST(RunRanks, AllRanksThrowAlike) {
  const Outcome outcome = run("all_throw");
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_EQ(outcome.occurrences("prog: "), 1) << outcome.output;
  EXPECT_TRUE(outcome.says(kMessage)) << outcome.output;
  EXPECT_FALSE(outcome.says("MPI_ABORT")) << outcome.output;
}

TEST(RunRanks, AllRanksThrowDifferentErrors) {
  const Outcome outcome = run("all_throw_different");
  EXPECT_EQ(outcome.exit_code, 2);
  for (const char* text : {"prog: text 0\n", "prog: text 1\n", "prog: text 2\n"}) {
    EXPECT_EQ(outcome.occurrences(text), 1) << outcome.output;
  }
  EXPECT_FALSE(outcome.says("MPI_ABORT")) << outcome.output;
}

TEST(RunRanks, AgreedErrorsAreSaidOnceByRankZero) {
  for (const char* name : {"agreed", "agreed_late"}) {
    const Outcome outcome = run(name);
    EXPECT_EQ(outcome.exit_code, 3);
    EXPECT_EQ(outcome.occurrences("prog: "), 1) << outcome.output;
    EXPECT_TRUE(outcome.says(kAgreedMessage)) << outcome.output;
    EXPECT_FALSE(outcome.says("MPI_ABORT")) << outcome.output;
  }
}

TEST(RunRanks, ErrorsAgreedByAPartOfTheRanksEndTheJob) {
  const Outcome outcome = run("agreed_in_a_part");
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_TRUE(outcome.says("prog: shard is damaged")) << outcome.output;
}

TEST(RunRanks, NamesOtherExceptions) {
  const Outcome bug = run("bug");
  EXPECT_EQ(bug.exit_code, 1);
  EXPECT_TRUE(bug.says("[rank 1/3] prog: sum is 2")) << bug.output;
  EXPECT_TRUE(bug.says("a defect of Cohort")) << bug.output;
  const Outcome torch = run("torch");
  EXPECT_EQ(torch.exit_code, 1);
  EXPECT_TRUE(torch.says("[rank 1/3] prog: mat1 and mat2 shapes cannot be multiplied")) << torch.output;
  EXPECT_FALSE(torch.says("frame #")) << torch.output;
  const Outcome memory = run("memory");
  EXPECT_EQ(memory.exit_code, 1);
  EXPECT_TRUE(memory.says("[rank 1/3] prog: out of memory")) << memory.output;
}

TEST(RunRanks, ALateRankEndsTheJobWithItsName) {
  const Outcome outcome = run("timeout");
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_TRUE(outcome.says("for rank 1\n")) << outcome.output;
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

}  // namespace
}  // namespace cohort::test
