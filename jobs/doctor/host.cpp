// What a host has for its ranks: memory, shared memory, open files.
#include <fstream>
#include <string>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include <fmt/format.h>

#include "cohort/core/text.h"

#include "check.h"

namespace cohort::jobs::doctor {
namespace {

constexpr std::uint64_t kLeastMemory = 2 * kGiB;          // of a rank
constexpr std::uint64_t kLeastSharedMemory = 128 * kMiB;  // of a rank
constexpr rlim_t kFewFiles = 1024;                        // 512 shards stay open, and as many connections

/// Bytes that the system can still give away; 0: unknown.
std::uint64_t available_memory() {
  std::ifstream lines("/proc/meminfo");
  for (std::string key; lines >> key;) {
    std::uint64_t kibibytes = 0;
    if (key == "MemAvailable:" && lines >> kibibytes) return kibibytes << 10;
    lines.ignore(256, '\n');
  }
  return 0;
}

std::uint64_t number_in(const std::string& file) {
  std::uint64_t number = 0;
  std::ifstream(file) >> number;
  return number;
}

/// What the job's control group (Slurm, a container) leaves; no limit: the largest number.
std::uint64_t group_memory() {
  std::ifstream lines("/proc/self/cgroup");
  std::string group;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("0::")) group = line.substr(3);
  }
  for (const std::string& folder : {"/sys/fs/cgroup" + group, std::string("/sys/fs/cgroup")}) {
    const std::uint64_t limit = number_in(folder + "/memory.max"),
                        used = number_in(folder + "/memory.current");
    if (limit > 0) return limit > used ? limit - used : 0;
  }
  return UINT64_MAX;
}

}  // namespace

Finding check_memory(Cluster& cluster) {
  const std::uint64_t free = std::min(available_memory(), group_memory());
  if (free == 0) return {Status::ok, "unknown: the system does not tell", ""};
  const std::uint64_t each = free / static_cast<std::uint64_t>(cluster.local_ranks);
  const std::string what = fmt::format("{} free for each of {} {}", format_bytes(each), cluster.local_ranks,
                                       cluster.local_ranks == 1 ? "rank" : "ranks");
  if (each >= kLeastMemory) return {Status::ok, what, ""};
  return {Status::warn, what, "ask for more memory (srun --mem), or start fewer ranks on a host"};
}

Finding check_shared_memory(Cluster& cluster) {
  struct statvfs disk {};
  if (statvfs("/dev/shm", &disk) != 0)
    return {Status::warn, "/dev/shm is missing",
            "mount a tmpfs there: collectives inside a host are slower without"};
  if ((disk.f_flag & ST_RDONLY) != 0)
    return {Status::warn, "/dev/shm is read-only",
            "mount a tmpfs there that can be written: collectives inside a host are slower without"};
  const std::uint64_t free = std::uint64_t{disk.f_bavail} * disk.f_frsize;
  const std::string what = format_bytes(free) + " free in /dev/shm";
  if (free >= kLeastSharedMemory * static_cast<std::uint64_t>(cluster.local_ranks))
    return {Status::ok, what, ""};
  return {Status::warn, what,
          "enlarge it (docker run --shm-size=8g, mount -o remount,size=50% /dev/shm) or remove old files"};
}

Finding check_open_files(Cluster&) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const std::string what =
      limit.rlim_cur == RLIM_INFINITY ? "no limit" : fmt::format("up to {}", limit.rlim_cur);
  if (limit.rlim_cur >= kFewFiles) return {Status::ok, what, ""};
  return {Status::warn, what, "ulimit -n 4096 before the job: 512 shards of a dataset stay open"};
}

}  // namespace cohort::jobs::doctor
