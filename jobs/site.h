#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "cohort/config/field.h"

namespace cohort::jobs {

/// What starts the ranks of a job.
enum class Launcher { srun, mpirun };
std::span<const config::EnumName<Launcher>> enum_names(Launcher);

/// What a cluster wants to be told in every job, and jobs do not differ in: the site file.
struct SiteConfig {
  std::string partition, gpu_partition, account, qos;
  std::vector<std::string> sbatch, modules, environment, container;
  std::filesystem::path programs;
  Launcher launcher = Launcher::srun;
  std::string mpi = "pmix";
  std::int64_t cpus_per_node = 0;

  template <class Visit>
  void fields(Visit& visit) {
    visit("partition", partition, "of jobs without GPUs; empty: the cluster's default");
    visit("gpu_partition", gpu_partition, "of jobs with GPUs; empty: that of jobs without");
    visit("account", account, "who pays; empty: the user's default");
    visit("qos", qos, "quality of service; empty: the account's default");
    visit("sbatch", sbatch, "more options of sbatch, for example --constraint=a100 or --mail-type=END");
    visit("modules", modules, "modules to load");
    visit("environment", environment, "variables to set, as NAME=VALUE");
    visit("container", container,
          "command that the programs are started with inside of a container, for example [apptainer, exec, "
          "--nv, cohort.sif]");
    visit("programs", programs,
          "folder of cohort and cohort-data on the nodes, or in the container; empty: that of this program");
    visit("launcher", launcher, "what starts the ranks");
    visit("mpi", mpi, "type of MPI for srun --mpi; empty: the cluster's default");
    visit("cpus_per_node", cpus_per_node,
          "processors of a node, shared out among its ranks where --cpus-per-rank is not given; 0: one for "
          "each rank",
          config::Range<std::int64_t>{0, 65536});
  }
};

/// The file given; else that of $COHORT_SITE; else ~/.config/cohort/site.yaml if there is one; else empty:
/// every setting has its default.
std::filesystem::path site_file(const std::string& given);

/// Throws UsageError (config/load.h; a variable without a name).
SiteConfig load_site(const std::filesystem::path& file);

}  // namespace cohort::jobs
