#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include "cohort/train/run_config.h"

#include "site.h"
#include "slurm_script.h"

namespace cohort::jobs {

/// What a command that submits jobs is told of them.
struct SlurmOptions {
  std::string site, time;
  Resources resources;
  std::int64_t ranks_per_node = 0, cpus_per_rank = 0;  ///< 0: chosen
  bool dry_run = false;
};

/// --time, which is returned, --nodes, --ranks-per-node, --cpus-per-rank, --gpus-per-node, --site and
/// --dry-run.
CLI::Option& add_resource_options(CLI::App& command, SlurmOptions& options);

/// Throws UsageError: no time for a job.
Resources choose_resources(const SlurmOptions& options, const SiteConfig& site);
/// Throws UsageError: GPUs and the configuration contradict each other.
void check_device(train::Device device, const Resources& resources);

/// Where no site says it, this program is the running one, whatever it is called, and others lie beside it.
std::filesystem::path program_of(const SiteConfig& site, std::string_view name);
/// The signal by which the program is asked to stop. mpirun ends itself at TERM, so that it comes last.
std::string stop_signal(const train::RunConfig& config);

/// slurm/ in the folder `base`. Throws DataError.
void make_script_folder(const std::filesystem::path& base);
/// With what it takes to run it, and unreadable for others: the environment may hold what is nobody else's
/// business. Returns its path, slurm/STAGE.sbatch.
std::filesystem::path write_script(const std::filesystem::path& base, const std::string& stage,
                                   const std::string& text);
/// Where the output of the job goes.
std::string log_of(const JobScript& script, const std::string& job);
/// Prints what the script asks for, a line.
void describe_script(const std::string& stage, const JobScript& script, const SiteConfig& site);

}  // namespace cohort::jobs
