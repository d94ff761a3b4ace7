#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "cohort/comm/communicator.h"
#include "cohort/core/error.h"

#include "study.h"
#include "study_table.h"

namespace cohort::jobs {

/// Runs of a study that failed, all of which are named; the exit code is that of the first.
struct FailedRuns : Error {
  using Error::Error;
};

/// Collective. What runs need, where it is not there yet: encoders as safetensors files, a dataset for each
/// fold. Throws UsageError or DataError.
void prepare_study(const Study& study, const std::filesystem::path& out, comm::Communicator& ranks);

/// Collective. All runs that have not ended, one after the other on all ranks. One that fails is named, and
/// the others go on. Returns ExitCode::stopped when a run was asked to stop. Throws FailedRuns, on all ranks
/// alike, behind the last run.
ExitCode run_study(const Study& study, const std::filesystem::path& out, comm::Communicator& ranks);

/// Collective. The run of this name alone, unless it has ended. Throws what it fails with.
ExitCode run_cell(const Study& study, const std::filesystem::path& out, const std::string& name,
                  comm::Communicator& ranks);

/// What there is of the study; a search that has ended is settled. One process calls it.
std::vector<GroupResult> results_of(const Study& study, const std::filesystem::path& out);

}  // namespace cohort::jobs
