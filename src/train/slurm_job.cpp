#include "train/slurm_job.h"

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <fmt/format.h>

#include "cohort/core/command.h"

namespace cohort::train {
namespace {

std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// A number of seconds since 1970 at the start of `text`.
std::optional<std::chrono::system_clock::time_point> parse_time(std::string_view text) {
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || seconds <= 0) return std::nullopt;
  return std::chrono::system_clock::time_point(std::chrono::seconds(seconds));
}

}  // namespace

std::string slurm_job() {
  const std::string array = from_environment("SLURM_ARRAY_JOB_ID");
  return array.empty() ? from_environment("SLURM_JOB_ID")
                       : fmt::format("{}_{}", array, from_environment("SLURM_ARRAY_TASK_ID"));
}

std::optional<std::chrono::system_clock::time_point> slurm_job_end() {
  const std::string job = slurm_job();
  if (job.empty()) return std::nullopt;
  if (const std::string end = from_environment("SLURM_JOB_END_TIME"); !end.empty()) return parse_time(end);
  const CommandResult answer = run_command(
      {"env", "SLURM_TIME_FORMAT=%s", "squeue", "-h", "-j", job, "-o", "%e"}, std::chrono::seconds(20));
  return answer.status == 0 ? parse_time(answer.output) : std::nullopt;
}

}  // namespace cohort::train
