#include "slurm_options.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;

std::string counted(std::int64_t count, const std::string& what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

}  // namespace

CLI::Option& add_resource_options(CLI::App& command, SlurmOptions& options) {
  const auto few = CLI::Range(1, 1'000'000);
  CLI::Option& time =
      *command.add_option("--time", options.time, "of the job: 12h, or as Slurm writes it: 12:00:00");
  command.add_option("--nodes", options.resources.nodes, "nodes; without it one")->check(few);
  command
      .add_option("--ranks-per-node", options.ranks_per_node,
                  "ranks on each node; without it one for each GPU, or one")
      ->check(few);
  command
      .add_option(
          "--cpus-per-rank", options.cpus_per_rank,
          "processors, and threads, of each rank; without it the site's cpus_per_node shared out, or one")
      ->check(few);
  command.add_option("--gpus-per-node", options.resources.gpus_per_node, "GPUs of each node")->check(few);
  command.add_option("--site", options.site,
                     "settings of the cluster (slurm/site.yaml is a template); without it $COHORT_SITE, or "
                     "~/.config/cohort/site.yaml");
  command.add_flag("--dry-run", options.dry_run, "print the script; write and submit nothing");
  return time;
}

Resources choose_resources(const SlurmOptions& options, const SiteConfig& site) {
  Resources chosen = options.resources;
  chosen.time = parse_slurm_time(options.time);
  chosen.ranks_per_node =
      options.ranks_per_node > 0 ? options.ranks_per_node : std::max<std::int64_t>(1, chosen.gpus_per_node);
  chosen.cpus_per_rank = options.cpus_per_rank > 0
                             ? options.cpus_per_rank
                             : std::max<std::int64_t>(1, site.cpus_per_node / chosen.ranks_per_node);
  return chosen;
}

void check_device(train::Device device, const Resources& resources) {
  if (device == train::Device::cuda && resources.gpus_per_node == 0) {
    throw UsageError({"device is cuda, but the job asks for no GPUs", "--gpus-per-node",
                      "give --gpus-per-node, or device=cpu"});
  }
  if (device == train::Device::cpu && resources.gpus_per_node > 0) {
    throw UsageError({"the job asks for GPUs, but device is cpu", "--gpus-per-node",
                      "set device=auto, or leave out --gpus-per-node"});
  }
}

fs::path program_of(const SiteConfig& site, std::string_view name) {
  if (!site.programs.empty()) return site.programs / name;
  const fs::path self = fs::read_symlink("/proc/self/exe");
  return name == "cohort" ? self : self.parent_path() / name;
}

std::string stop_signal(const train::RunConfig& config) {
  for (const std::string& name : config.train.stop.signals) {
    if (name != "TERM") return name;
  }
  return "TERM";
}

void make_script_folder(const fs::path& base) {
  refuse_no_folder(base / "slurm");
  make_writable_folder(base / "slurm");
}

fs::path write_script(const fs::path& base, const std::string& stage, const std::string& text) {
  const fs::path file = base / "slurm" / (stage + ".sbatch");
  make_script_folder(base);
  write_file_atomically(file, text);
  fs::permissions(file, fs::perms::owner_all);
  return file;
}

std::string log_of(const JobScript& script, const std::string& job) {
  std::string name = script.log;
  for (const auto& [pattern, value] :
       {std::pair<std::string, std::string>{"%A", job}, {"%j", job}, {"%a", "N"}, {"%%", "%"}}) {
    if (const std::size_t at = name.rfind(pattern); at != std::string::npos)
      name.replace(at, pattern.size(), value);
  }
  return name;
}

void describe_script(const std::string& stage, const JobScript& script, const SiteConfig& site) {
  const Resources& resources = script.resources;
  const std::string elements = script.array ? ", " + counted(std::ssize(script.runs), "element") : "",
                    gpus = resources.gpus_per_node > 0 ? counted(resources.gpus_per_node, "GPU") + " a node, "
                                                       : "",
                    ranks = fmt::format(
                        "{}, {} each by {}, {} a rank (OMP_NUM_THREADS={}, bound to cores), ",
                        counted(resources.nodes, "node"), counted(resources.ranks_per_node, "rank"),
                        config::enum_name(site.launcher), counted(resources.cpus_per_rank, "processor"),
                        resources.cpus_per_rank);
  fmt::print("{}{}: {}{}{}\n", stage, elements, script.launched ? ranks : "one process, ", gpus,
             slurm_time(resources.time));
}

}  // namespace cohort::jobs
