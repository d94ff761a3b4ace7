#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "site.h"

namespace cohort::jobs {

/// What a job gets of the cluster.
struct Resources {
  std::int64_t nodes = 1, ranks_per_node = 1, cpus_per_rank = 1, gpus_per_node = 0;
  std::chrono::seconds time{0};
  [[nodiscard]] std::int64_t ranks() const noexcept { return nodes * ranks_per_node; }
};

/// One run of a script: an element of its array, or all of it.
struct ScriptRun {
  std::filesystem::path folder;        ///< of the run
  std::vector<std::string> arguments;  ///< behind those that all runs share
};

/// Everything that a batch script is made of, besides the site's settings.
struct JobScript {
  std::string name;                  ///< of the job
  std::filesystem::path folder;      ///< where it starts
  std::string log;                   ///< path of its output, with the patterns of sbatch (%j)
  std::vector<std::string> command;  ///< program and arguments
  std::vector<ScriptRun> runs;       ///< more than one: an array
  bool array = false;
  Resources resources;
  bool launched = true;  ///< on ranks; false: one process without MPI
  /// Of training, which can be stopped and go on: how the program is asked, and how long before the job's
  /// end. Empty: the job is started again from the beginning.
  std::string stop_signal;
  std::chrono::seconds stop_margin{0};
};

/// The text of the script. Throws UsageError when a name in it has a line break, which no quoting keeps.
std::string batch_script(const JobScript& job, const SiteConfig& site);

/// A word in a line of #SBATCH options, whatever is in it.
std::string sbatch_quoted(std::string_view word);
/// A path in which sbatch replaces nothing: "100%" stays. Throws UsageError for a backslash.
std::string sbatch_path(const std::filesystem::path& path);

/// "2-03:00:00", as Slurm writes a job's time.
std::string slurm_time(std::chrono::seconds time);
/// A duration of ours (12h), or one of Slurm's: minutes, minutes:seconds, hours:minutes:seconds, days-hours …
/// Throws UsageError.
std::chrono::seconds parse_slurm_time(const std::string& text);

}  // namespace cohort::jobs
