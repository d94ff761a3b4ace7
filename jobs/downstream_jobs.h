#pragma once
#include "cohort/core/error.h"

#include "slurm_options.h"
#include "study_plan.h"

namespace cohort::jobs {

/// Plans the study and hands it to Slurm: a job for what runs need, an array of the runs of the search, one
/// of all others, and a job for the tables, each behind the one before it. Runs that fail stop no others.
/// Throws UsageError or DataError.
ExitCode submit_study(const StudyOptions& options, const SlurmOptions& slurm);

}  // namespace cohort::jobs
