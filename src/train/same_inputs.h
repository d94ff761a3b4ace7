#pragma once
#include <string>

#include "cohort/comm/communicator.h"
#include "cohort/train/run_config.h"

namespace cohort::train {

/// Version and build of Cohort that this process runs.
std::string program_identity();

/// All collective. They throw UsageError, the same on every rank, when ranks run different programs
/// (`identity`: program_identity()), were started with different options, or found different datasets at
/// data.path (`identity`: dataset_identity()). It names the first rank that differs from rank 0, its host,
/// and both values.
void check_same_program(const std::string& identity, comm::Communicator& ranks);
void check_same_options(const RunConfig& config, comm::Communicator& ranks);
void check_same_dataset(const std::string& identity, const RunConfig& config, comm::Communicator& ranks);

}  // namespace cohort::train
