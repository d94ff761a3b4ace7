#pragma once
#include <chrono>
#include <optional>
#include <string>

namespace cohort::train {

/// The Slurm job that this process belongs to, as Slurm's commands take it: "123", of an array "123_4"; empty
/// outside of jobs.
std::string slurm_job();

/// When the job's time is over: from SLURM_JOB_END_TIME, otherwise squeue is asked, for at most 20 s. Nothing
/// outside of jobs, for a job without a limit, and when Slurm does not answer.
std::optional<std::chrono::system_clock::time_point> slurm_job_end();

}  // namespace cohort::train
