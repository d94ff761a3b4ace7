#pragma once
#include <filesystem>
#include <optional>
#include <string>

namespace cohort::jobs {

/// A job that was submitted for a run: a line of slurm/jobs.jsonl in its folder.
struct JobRecord {
  std::string job;    ///< "123", of an array "123_4"
  std::string stage;  ///< "train"
};

/// Where the lines are.
std::filesystem::path job_records_file(const std::filesystem::path& run);

/// Creates the folder if need be. Throws DataError.
void add_job_record(const std::filesystem::path& run, const JobRecord& record);

/// The training job that was submitted last; nothing if none was.
std::optional<JobRecord> last_training_job(const std::filesystem::path& run);

}  // namespace cohort::jobs
