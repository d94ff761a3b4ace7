// Does the job consist of the ranks that were asked for, all of the same build?
#include <cstdlib>
#include <map>
#include <set>
#include <sys/utsname.h>

#include <fmt/format.h>
#include <hdf5.h>
#include <torch/version.h>

#include "cohort/core/text.h"
#include "cohort/nn/kernels.h"

#include "check.h"
#include "command_line/version.h"

namespace cohort::jobs::doctor {
namespace {

using command_line::hdf5_library;
using command_line::mpi_library;

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool has(const char* name) {
  return !environment(name).empty();
}

int number(const char* name) {
  return std::atoi(environment(name).c_str());
}

/// Who started this process, and how many it says that it started; 0: it does not say.
struct Launcher {
  std::string name;
  int ranks = 0;
};

// mpirun inside a job of Slurm starts its daemons with srun, whose variables the ranks inherit: mpirun is
// asked for first.
Launcher launcher() {
  // Open MPI sets some of these without a launcher as well, but not the number of ranks.
  const bool of_mpirun = has("OMPI_APP_CTX_NUM_PROCS") || has("OMPI_COMMAND") || has("PRTE_LAUNCHED");
  if (of_mpirun && has("OMPI_COMM_WORLD_SIZE")) return {"mpirun of Open MPI", number("OMPI_COMM_WORLD_SIZE")};
  if (has("SLURM_STEP_NUM_TASKS") && has("SLURM_PROCID")) return {"srun", number("SLURM_STEP_NUM_TASKS")};
  if (has("PMI_SIZE")) return {"mpirun of MPICH or Intel MPI", number("PMI_SIZE")};
  return {"no launcher", 0};
}

/// Slurm's PMIx, with fences of another kind than ring (Slurm's mpi.conf(5)).
bool has_loose_fences() {
  return environment("PMIX_NAMESPACE").starts_with("slurm.pmix") && environment("SLURM_PMIX_FENCE") != "ring";
}

/// "4 ranks on 2 hosts": and whether each host has as many.
Finding spread(const Cluster& cluster, const std::string& how) {
  std::map<std::string, int> ranks_of;
  for (const std::string& host : cluster.hosts) ++ranks_of[host];
  std::set<int> numbers;
  for (const auto& [host, ranks] : ranks_of) numbers.insert(ranks);
  const std::string what =
      fmt::format("{} {} on {} {}, {}", cluster.hosts.size(), cluster.hosts.size() == 1 ? "rank" : "ranks",
                  ranks_of.size(), ranks_of.size() == 1 ? "host" : "hosts", how);
  if (ranks_of.size() > 1 && has_loose_fences()) {
    return {Status::warn, what + "; ranks may leave MPI_Init before others are in it, which then crash",
            "export SLURM_PMIX_FENCE=ring before srun, as jobs of cohort submit do; nothing is wrong if the "
            "cluster's mpi.conf says PMIxCollFence=ring"};
  }
  if (numbers.size() == 1) return {Status::ok, what, ""};
  return {Status::warn, fmt::format("{}: {} to {} ranks a host", what, *numbers.begin(), *numbers.rbegin()),
          "start as many ranks on every host (--ntasks-per-node, --npernode)"};
}

std::string kernel() {
  utsname names{};
  return uname(&names) == 0 ? names.release : "unknown";
}

/// What must be the same everywhere.
std::vector<std::string> own_versions() {
  return {"Cohort " COHORT_VERSION, mpi_library(),      "HDF5 " + hdf5_library(), "LibTorch " TORCH_VERSION,
          "NCCL " + nccl_version(), "Linux " + kernel()};
}

/// Entry `i` of every rank's list, which the ranks gave as lines.
std::vector<std::set<std::string>> gathered(Cluster& cluster, const std::vector<std::string>& mine) {
  std::vector<std::set<std::string>> values(mine.size());
  for (const std::string& text : cluster.ranks.gather_texts(join(mine, "\n"))) {
    std::size_t begin = 0;
    for (std::set<std::string>& value : values) {
      const std::size_t end = text.find('\n', begin);
      value.insert(text.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  return values;
}

std::string difference(const std::set<std::string>& values) {
  return join(std::vector<std::string>(values.begin(), values.end()), " and ");
}

}  // namespace

Finding check_launcher(Cluster& cluster) {
  const Launcher by = launcher();
  const int size = cluster.ranks.size();
  if (by.ranks > 1 && size == 1) {
    return {
        Status::fail,
        fmt::format("{} started {} processes, but each of them is rank 0 of 1 ({})", by.name, by.ranks,
                    mpi_library()),
        by.name == "srun"
            ? "use srun --mpi=pmix (srun --mpi=list names what it knows), with an MPI library built for it "
              "(ompi_info | grep -i pmix), or start with mpirun"
            : "start with the mpirun of the MPI library that Cohort was built with"};
  }
  if (by.ranks > 0 && by.ranks != size) {
    return {Status::fail, fmt::format("{} started {} processes, MPI joined {}", by.name, by.ranks, size),
            "start one program at a time, with the mpirun of the MPI library that Cohort was built with"};
  }
  const std::string pmix = environment("PMIX_VERSION");
  return spread(cluster, fmt::format("started by {}; {}{}", by.name, mpi_library(),
                                     pmix.empty() ? "" : ", PMIx " + pmix));
}

Finding check_versions(Cluster& cluster) {
  const std::vector<std::string> mine = own_versions();
  const auto values = gathered(cluster, mine);
  const std::size_t kernel_entry = mine.size() - 1;
  for (std::size_t i = 0; i < kernel_entry; ++i) {
    if (values[i].size() > 1)
      return {Status::fail, "the ranks have " + difference(values[i]),
              "load the same modules on every host, and install Cohort where all of them see it"};
  }
  if (values[kernel_entry].size() > 1)
    return {Status::warn, "the hosts have " + difference(values[kernel_entry]),
            "harmless as a rule; ask for hosts of one kind if speeds differ"};
  if (hdf5_library() != fmt::format("{}.{}.{}", H5_VERS_MAJOR, H5_VERS_MINOR, H5_VERS_RELEASE)) {
    return {Status::fail,
            fmt::format("HDF5 {} is loaded, Cohort was built with {}.{}.{}", hdf5_library(), H5_VERS_MAJOR,
                        H5_VERS_MINOR, H5_VERS_RELEASE),
            "load the module that Cohort was built with, or build again"};
  }
  return {Status::ok, join(mine, ", "), ""};
}

Finding check_kernels(Cluster& cluster) {
  const std::string mine = nn::kernels_in_use();
  const std::set<std::string> kernels = gathered(cluster, {mine}).front();
  if (kernels.size() == 1) return {Status::ok, mine, ""};
  return {Status::warn, "the hosts have " + difference(kernels),
          "ask for hosts of one kind (sbatch --constraint): the slowest sets the pace, and sums differ by "
          "rounding between them"};
}

}  // namespace cohort::jobs::doctor
