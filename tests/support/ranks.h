#pragma once
#include <chrono>

#include "cohort/comm/session.h"

namespace cohort::test {

/// Collective. A communicator over all ranks of a test program with mpi_test_main.cpp (which owns MPI).
/// Shorter than the time limit of a test: a rank that does not come is named by RankError.
inline comm::Communicator world(std::chrono::seconds timeout = std::chrono::seconds(30)) {
  int argc = 0;
  char** argv = nullptr;
  return comm::Session(argc, argv, timeout).world();
}

}  // namespace cohort::test
