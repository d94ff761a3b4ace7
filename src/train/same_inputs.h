#pragma once
#include <string>

#include "cohort/comm/communicator.h"
#include "cohort/train/run_config.h"

namespace cohort::train {

/// Version and build of Cohort that this process runs.
std::string program_identity();

/// Both collective. They throw UsageError, the same on every rank, when ranks run different programs
/// (`identity`: program_identity()) or were started with different options. It names the first rank that
/// differs from rank 0, its host, and both values.
void check_same_program(const std::string& identity, comm::Communicator& ranks);
void check_same_options(const RunConfig& config, comm::Communicator& ranks);

}  // namespace cohort::train
