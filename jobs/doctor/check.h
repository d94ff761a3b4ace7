#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cohort/comm/communicator.h"
#include "cohort/core/error.h"

// `cohort doctor`: what a check is, and what it is told.
namespace cohort::jobs::doctor {

inline constexpr std::uint64_t kMiB = std::uint64_t{1} << 20, kGiB = std::uint64_t{1} << 30;

enum class Status { ok, warn, fail };  ///< in order: the larger is the worse

/// What one rank found. `fix`: empty when all is well.
struct Finding {
  Status status = Status::ok;
  std::string what, fix;
};

/// Where the checks run. The same on every rank but for `local_rank`.
struct Cluster {
  comm::Communicator& ranks;
  std::vector<std::string> hosts;  ///< of every rank
  int local_rank = 0;              ///< among the ranks of this host
  int local_ranks = 1;             ///< ranks of this host
  std::filesystem::path run_dir;   ///< of the run to come: need not exist
  std::filesystem::path scratch;   ///< an empty folder in run_dir or above it; empty: none could be made
  std::filesystem::path data;      ///< empty: none was named

  /// The first rank of each host speaks and measures for it.
  [[nodiscard]] bool leads() const { return local_rank == 0; }
};

/// Looks into one thing on every rank, or collectively. What it throws is this rank's failure; it throws
/// nothing while others wait for it in a collective call.
struct Check {
  const char* name;
  ExitCode code;  ///< of the program, when it fails
  Finding (*run)(Cluster&);
};

// launcher.cpp
Finding check_launcher(Cluster& cluster);
Finding check_versions(Cluster& cluster);
Finding check_kernels(Cluster& cluster);
// binding.cpp
Finding check_binding(Cluster& cluster);
// communication.cpp
Finding check_all_reduce(Cluster& cluster);
Finding check_clocks(Cluster& cluster);
// host.cpp
Finding check_memory(Cluster& cluster);
Finding check_shared_memory(Cluster& cluster);
Finding check_open_files(Cluster& cluster);
// disk.cpp
Finding check_run_folder(Cluster& cluster);
Finding check_space(Cluster& cluster);
Finding check_disk_speed(Cluster& cluster);
Finding check_dataset(Cluster& cluster);
// shared_file.cpp
Finding check_shared_file(Cluster& cluster);
Finding check_file_locks(Cluster& cluster);
// gpu.cpp
Finding check_gpus(Cluster& cluster);
Finding check_nccl(Cluster& cluster);
/// "2.28.9"; "none" in a build without CUDA.
std::string nccl_version();

}  // namespace cohort::jobs::doctor
