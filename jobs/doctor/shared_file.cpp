// All ranks at work on one file, as when a checkpoint is written.
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <numeric>
#include <sys/file.h>

#include <fmt/format.h>
#include <mpi.h>

#include "cohort/core/file.h"
#include "cohort/core/text.h"

#include "check.h"
#include "support/hdf5.h"

namespace cohort::jobs::doctor {
namespace {

namespace fs = std::filesystem;

const char* const kDiskRemedy =
    "free some space, check the disk and the network to it, or choose another run folder";
constexpr std::int64_t kBlock = std::int64_t{1} << 18;  // f32 a rank: 1 MiB

std::vector<float> block_of(int rank) {
  std::vector<float> values(kBlock);
  std::iota(values.begin(), values.end(), static_cast<float>(rank));
  return values;
}

/// The part of the file that belongs to a rank.
hdf5::Space part_of(int rank, int ranks, const std::string& where) {
  const std::int64_t all = ranks * kBlock;
  hdf5::Space space = hdf5::make_space(std::span(&all, 1), where);
  const hsize_t start = static_cast<hsize_t>(rank) * kBlock, count = kBlock;
  hdf5::check_hdf5(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, &start, nullptr, &count, nullptr),
                   "H5Sselect_hyperslab", where);
  return space;
}

hdf5::File create_together(const fs::path& path, comm::Communicator& ranks) {
  const hdf5::List access = hdf5::file_access();
  hdf5::check_hdf5(H5Pset_fapl_mpio(access.get(), MPI_Comm_f2c(ranks.mpi_handle()), MPI_INFO_NULL),
                   "H5Pset_fapl_mpio", path.string());
  const hdf5::List create = hdf5::creation(H5P_FILE_CREATE);
  return hdf5::File(hdf5::check_hdf5(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, create.get(), access.get()),
                                     "H5Fcreate", path.string(), kDiskRemedy));
}

/// Collective. Each rank writes its block.
void write_together(const fs::path& path, comm::Communicator& ranks) {
  const std::string where = path.string();
  const std::int64_t all = ranks.size() * kBlock, mine = kBlock;
  hdf5::File file;
  comm::together(ranks, [&] { file = create_together(path, ranks); });
  comm::together(ranks, [&] {
    const hdf5::Dataset dataset =
        hdf5::create_dataset(file.get(), "values", H5T_IEEE_F32LE, std::span(&all, 1), where);
    const hdf5::Space memory = hdf5::make_space(std::span(&mine, 1), where),
                      part = part_of(ranks.rank(), ranks.size(), where);
    hdf5::check_hdf5(H5Dwrite(dataset.get(), H5T_NATIVE_FLOAT, memory.get(), part.get(), H5P_DEFAULT,
                              block_of(ranks.rank()).data()),
                     "H5Dwrite", where, kDiskRemedy);
  });
  comm::together(ranks,
                 [&] { hdf5::check_hdf5(hdf5::close_file(file.release()), "H5Fclose", where, kDiskRemedy); });
}

std::vector<float> read_block(const fs::path& path, int rank, int ranks) {
  const std::string where = path.string();
  const hdf5::File file = hdf5::open_file(path);
  const hdf5::Dataset dataset = hdf5::open_dataset(file.get(), "values", where);
  const std::int64_t count = kBlock;
  const hdf5::Space memory = hdf5::make_space(std::span(&count, 1), where),
                    part = part_of(rank, ranks, where);
  std::vector<float> values(kBlock);
  hdf5::check_hdf5(
      H5Dread(dataset.get(), H5T_NATIVE_FLOAT, memory.get(), part.get(), H5P_DEFAULT, values.data()),
      "H5Dread", where);
  return values;
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
  const fs::path path = cluster.scratch / "shared.h5";
  write_together(path, ranks);
  const int neighbour = (ranks.rank() + 1) % ranks.size();
  bool right = false;
  comm::together(ranks, [&] { right = read_block(path, neighbour, ranks.size()) == block_of(neighbour); });
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
