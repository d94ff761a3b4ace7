// All ranks at work on one file: a checkpoint.
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/checkpoint/store.h"
#include "cohort/core/file.h"
#include "cohort/core/text.h"

#include "check.h"

namespace cohort::jobs::doctor {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kBlock = std::int64_t{1} << 18;  // f32 a rank: 1 MiB

at::Tensor block_of(int rank) {
  return at::arange(rank, rank + kBlock, at::kFloat);
}

/// The part of a rank, whoever holds it.
checkpoint::Slice part_of(int rank, int ranks, at::Tensor values) {
  return {"/values", {ranks * kBlock}, rank * kBlock, std::move(values)};
}

/// Tries one kind of lock; 0 or the system's error.
using TakeLock = int (*)(int descriptor, bool take);

int fcntl_lock(int descriptor, bool take) {
  struct flock range {};
  range.l_type = static_cast<short>(take ? F_WRLCK : F_UNLCK);
  range.l_whence = SEEK_SET;
  return ::fcntl(descriptor, F_SETLK, &range) == 0 ? 0 : errno;
}

int flock_lock(int descriptor, bool take) {
  return ::flock(descriptor, (take ? LOCK_EX : LOCK_UN) | LOCK_NB) == 0 ? 0 : errno;
}

/// What is wrong with one kind of lock; empty: nothing. Collective: rank 0 holds it, the others must not get
/// it.
std::string try_lock(Cluster& cluster, const char* name, TakeLock lock) {
  comm::Communicator& ranks = cluster.ranks;
  const fs::path path = cluster.scratch / name;
  FileDescriptor file;
  int error = 0;
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) write_file_atomically(path, "lock");
  });
  file.reset(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!file) error = errno;
  if (ranks.rank() == 0 && file) error = lock(file.get(), true);
  const std::int64_t first_error = ranks.max(std::int64_t{ranks.rank() == 0 ? error : 0});
  if (ranks.rank() != 0 && file && first_error == 0) error = lock(file.get(), true);
  ranks.barrier();  // rank 0 holds its lock until all have tried
  if (first_error != 0) return fmt::format("{}: {}", name, std::strerror(static_cast<int>(first_error)));
  if (ranks.rank() == 0 || error == EAGAIN || error == EACCES) return "";
  return error == 0 ? fmt::format("{}: two ranks got the same lock", name)
                    : fmt::format("{}: {}", name, std::strerror(error));
}

}  // namespace

Finding check_shared_file(Cluster& cluster) {
  comm::Communicator& ranks = cluster.ranks;
  if (cluster.scratch.empty()) return {Status::fail, "there is nowhere to write", "see 'run folder'"};
  checkpoint::Store store(cluster.scratch / "shared", ranks);
  store.save({part_of(ranks.rank(), ranks.size(), block_of(ranks.rank()))}, {});
  const int neighbour = (ranks.rank() + 1) % ranks.size();
  std::vector<checkpoint::Slice> read{part_of(neighbour, ranks.size(), at::zeros({kBlock}))};
  store.load(0, read);
  const bool right = read.front().values.equal(block_of(neighbour));
  if (!right) {
    return {Status::fail,
            fmt::format("what rank {} wrote reads differently on rank {}", neighbour, ranks.rank()),
            "do not train here: this file system does not show writes of other hosts (NFS without locking, "
            "wrong mount options); choose another run_dir"};
  }
  return {Status::ok,
          fmt::format("{} written through MPI-IO by {} {}, read back right",
                      format_bytes(static_cast<std::uint64_t>(4 * kBlock * ranks.size())), ranks.size(),
                      ranks.size() == 1 ? "rank" : "ranks"),
          ""};
}

Finding check_file_locks(Cluster& cluster) {
  if (cluster.scratch.empty()) return {Status::fail, "there is nowhere to write", "see 'run folder'"};
  const char* const setting = std::getenv("HDF5_USE_FILE_LOCKING");
  const std::string shown =
      fmt::format("HDF5_USE_FILE_LOCKING is {}", setting == nullptr ? "not set" : setting);
  std::vector<std::string> wrong{try_lock(cluster, "fcntl", fcntl_lock),
                                 try_lock(cluster, "flock", flock_lock)};
  std::erase(wrong, "");
  if (wrong.empty()) return {Status::ok, "fcntl and flock hold; " + shown, ""};
  return {Status::warn, join(wrong, ", ") + "; " + shown,
          "mount the file system with locks (Lustre: -o flock), or set HDF5_USE_FILE_LOCKING=FALSE; Cohort "
          "itself "
          "reads and writes without them, Open MPI's MPI-IO on NFS does not"};
}

}  // namespace cohort::jobs::doctor
