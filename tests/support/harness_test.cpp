// The harness of the tests on several ranks must end, fail and name rank and reason, whatever a rank does.
#include <gtest/gtest.h>

#include "support/spawn.h"

namespace cohort::test {
namespace {

Outcome run_fault(const std::string& name) {
  return spawn_ranks(MPIEXEC, 3,
                     fmt::format("{} --gtest_color=no --gtest_filter=Fault.{}", HARNESS_FAULTS, name));
}

void expect_failure(const Outcome& outcome, const std::string& rank, const std::string& reason) {
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_NE(outcome.exit_code, 124) << "the program hung";
  EXPECT_TRUE(outcome.says(rank)) << outcome.output;
  EXPECT_TRUE(outcome.says(reason)) << outcome.output;
}

TEST(Harness, PassesWhenNothingFails) {
  const Outcome outcome = run_fault("None");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(outcome.occurrences("[  PASSED  ] 1 test."), 1) << outcome.output;
}

TEST(Harness, EndsWhenARankLeavesBeforeACollective) {
  expect_failure(run_fault("AssertionBeforeBarrier"), "[rank 1/3]", "this rank leaves");
}

TEST(Harness, EndsWhenRankZeroLeavesBeforeACollective) {
  expect_failure(run_fault("AssertionOnRankZero"), "[rank 0/3] failed Fault.AssertionOnRankZero",
                 "this rank leaves");
}

TEST(Harness, EndsWhenARankThrows) {
  expect_failure(run_fault("Exception"), "[rank 2/3]", "disk full");
}

TEST(Harness, ReportsAFailureThatHindersNobody) {
  const Outcome outcome = run_fault("SoftFailure");
  expect_failure(outcome, "[rank 2/3]", "wrong value");
  EXPECT_TRUE(outcome.says("1 of 3 ranks failed")) << outcome.output;
  EXPECT_FALSE(outcome.says("PASSED  ] 1")) << outcome.output;
}

TEST(Harness, EndsWhenARankIsKilled) {
  expect_failure(run_fault("Killed"), "process rank 1", "signal 9");
}

TEST(Harness, EndsWhenARankExits) {
  expect_failure(run_fault("Exit"), "1],1]", "Exit code:    3");
}

}  // namespace
}  // namespace cohort::test
