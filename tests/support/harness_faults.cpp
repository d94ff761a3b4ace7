// Tests that must fail, each in its own way; run one at a time by harness_test.cpp, never by ctest itself.
#include <csignal>
#include <stdexcept>

#include <gtest/gtest.h>
#include <mpi.h>

namespace {

int rank() {
  int value = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &value);
  return value;
}

void leave_before_a_collective(int failing) {
  ASSERT_NE(rank(), failing) << "this rank leaves";
}

TEST(Fault, None) {
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(Fault, AssertionBeforeBarrier) {
  leave_before_a_collective(1);
  if (HasFatalFailure()) return;
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(Fault, AssertionOnRankZero) {
  leave_before_a_collective(0);
  if (HasFatalFailure()) return;
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(Fault, Exception) {
  if (rank() == 2) throw std::runtime_error("disk full");
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(Fault, SoftFailure) {
  EXPECT_NE(rank(), 2) << "wrong value";
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(Fault, Killed) {
  if (rank() == 1) std::raise(SIGKILL);
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(Fault, Exit) {
  if (rank() == 1) std::_Exit(3);
  MPI_Barrier(MPI_COMM_WORLD);
}

}  // namespace
