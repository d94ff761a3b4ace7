#include "job_records.h"

#include <span>
#include <sstream>
#include <string>

#include <nlohmann/json.hpp>

#include "cohort/core/file.h"

namespace cohort::jobs {

std::filesystem::path job_records_file(const std::filesystem::path& run) {
  return run / "slurm" / "jobs.jsonl";
}

void add_job_record(const std::filesystem::path& run, const JobRecord& record) {
  const std::filesystem::path file = job_records_file(run);
  refuse_no_folder(file.parent_path());
  make_writable_folder(file.parent_path());
  const std::string line = nlohmann::ordered_json{{"job", record.job}, {"stage", record.stage}}.dump() + '\n';
  write_all(open_to_append(file), std::as_bytes(std::span(line)), file, "write down the number of the job");
}

std::optional<JobRecord> last_training_job(const std::filesystem::path& run) {
  std::optional<JobRecord> last;
  const std::filesystem::path file = job_records_file(run);
  if (!std::filesystem::exists(file)) return last;
  std::istringstream lines(read_file(file, kMostRecords, Links::refuse));
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_object() && json.value("stage", "") == "train")
      last = JobRecord{json.value("job", ""), "train"};
  }
  return last;
}

}  // namespace cohort::jobs
