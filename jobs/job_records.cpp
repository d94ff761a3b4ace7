#include "job_records.h"

#include <fstream>

#include <nlohmann/json.hpp>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

namespace cohort::jobs {

std::filesystem::path job_records_file(const std::filesystem::path& run) {
  return run / "slurm" / "jobs.jsonl";
}

void add_job_record(const std::filesystem::path& run, const JobRecord& record) {
  const std::filesystem::path file = job_records_file(run);
  make_writable_folder(file.parent_path());
  std::ofstream stream(file, std::ios::app);
  stream << nlohmann::ordered_json{{"job", record.job}, {"stage", record.stage}}.dump() << '\n' << std::flush;
  if (!stream)
    throw DataError(
        {"cannot write down the number of the job", file.string(), "check the permissions and the space"});
}

std::optional<JobRecord> last_training_job(const std::filesystem::path& run) {
  std::optional<JobRecord> last;
  std::ifstream lines(job_records_file(run));
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_object() && json.value("stage", "") == "train")
      last = JobRecord{json.value("job", ""), "train"};
  }
  return last;
}

}  // namespace cohort::jobs
