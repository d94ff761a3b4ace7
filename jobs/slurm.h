#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace cohort::jobs {

/// sbatch --test-only: what it says when the script is fine ("Job 7 to start at …"). Throws UsageError with
/// its own words when it is not, and when there is no sbatch.
std::string check_script(const std::filesystem::path& script, const std::vector<std::string>& options);

/// Submits and returns the job's number. Throws like check_script().
std::string submit_script(const std::filesystem::path& script, const std::vector<std::string>& options);

/// States of the jobs that Slurm knows of ("12", "12_3"), in its words: RUNNING, PENDING … Empty without
/// Slurm, or when it does not answer within 20 s.
std::map<std::string, std::string> job_states(const std::vector<std::string>& jobs);

}  // namespace cohort::jobs
