#include "comm/shared_place.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <sys/statvfs.h>
#include <unistd.h>

#include <fmt/format.h>

#include "cohort/core/host.h"
#include "cohort/core/text.h"

namespace cohort::comm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPlace = "/dev/shm";
constexpr std::uint64_t kBytesOfRank = std::uint64_t{5} << 20;  // Open MPI's 4 MiB, and some of ours
// Of Open MPI 4 and 5.
constexpr const char* kFolderOptions[] = {"OMPI_MCA_btl_vader_backing_directory",
                                          "OMPI_MCA_btl_sm_backing_directory"};

std::atomic<bool> has_place{true};

/// Ranks that the launcher has started on this host, as far as it says so before MPI_Init.
std::uint64_t ranks_of_host() {
  for (const char* name : {"OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_STEP_TASKS_PER_NODE"}) {
    if (const char* const number = std::getenv(name)) return std::strtoull(number, nullptr, 10);
  }
  return 1;
}

bool user_has_chosen() {
  return std::any_of(std::begin(kFolderOptions), std::end(kFolderOptions), std::getenv);
}

/// What Open MPI uses instead of /dev/shm.
std::string instead(std::uint64_t bytes) {
  const fs::path temporary = fs::temp_directory_path();
  if (!user_has_chosen() && lack_of_room(temporary, bytes).empty()) {
    for (const char* option : kFolderOptions) setenv(option, temporary.c_str(), 0);
    return fmt::format("files in {} instead", temporary.string());
  }
  return user_has_chosen() ? "what Open MPI's options say instead" : "messages over the network instead";
}

}  // namespace

std::string lack_of_room(const fs::path& folder, std::uint64_t bytes) {
  struct statvfs disk {};
  if (::statvfs(folder.c_str(), &disk) != 0) return folder.string() + " is missing";
  if ((disk.f_flag & ST_RDONLY) != 0) return folder.string() + " is read-only";
  if (::access(folder.c_str(), W_OK | X_OK) != 0) return folder.string() + " may not be written";
  const std::uint64_t free = std::uint64_t{disk.f_bavail} * disk.f_frsize;
  if (free >= bytes) return "";
  return fmt::format("{} has room for {}, ranks of this host need {}", folder.string(), format_bytes(free),
                     format_bytes(bytes));
}

std::string choose_shared_place() {
  const std::uint64_t ranks = ranks_of_host(), bytes = ranks * kBytesOfRank;
  const std::string problem = ranks > 1 ? lack_of_room(kPlace, bytes) : "";
  has_place = problem.empty();
  if (problem.empty()) return "";
  return fmt::format(
      "{} on {}: ranks use {}, and exchange of 64 KiB and more takes up to three times as long; give it "
      "room (docker run --shm-size=8g, mount -o remount,rw,size=50% /dev/shm)",
      problem, host_name(), instead(bytes));
}

bool has_shared_place() noexcept {
  return has_place;
}

}  // namespace cohort::comm
