#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <set>
#include <span>

#include <mpi.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/handle.h"
#include "cohort/core/text.h"

#include "state_file.h"
#include "support/space.h"

namespace cohort::checkpoint {
namespace {

// MPI-IO counts bytes in an int, so that no transfer may reach 2 GiB; CUDA tensors are copied in such parts.
constexpr std::int64_t kWrittenValues = std::int64_t{1} << 22;

// MPI-IO does not hand the system's reason on; it prints it.
const std::string kDiskFix =
    "the lines above may say why: free some space, check disk and network, or choose another folder "
    "(run_dir)";

// Object headers and group indices of this version carry checksums, so that damage to them is found as well.
void use_checked_metadata(const hdf5::List& access) {
  hdf5::check_hdf5(H5Pset_libver_bounds(access.get(), H5F_LIBVER_V18, H5F_LIBVER_V110),
                   "H5Pset_libver_bounds", "state.h5");
}

struct MpiFileTraits {
  using type = MPI_File;
  static type null() noexcept { return MPI_FILE_NULL; }
  static void close(type file) noexcept { MPI_File_close(&file); }
};
using MpiFile = Handle<MpiFileTraits>;

void check_io(int result, const char* action, const std::string& where) {
  if (result == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(result, text.data(), &length);
  throw DataError({fmt::format("MPI-IO cannot {} the checkpoint: {}", action, text.data()), where, kDiskFix});
}

// What HDF5 adds to the values, rounded up.
std::uint64_t expected_bytes(const Catalogue& catalogue) {
  std::uint64_t bytes = std::uint64_t{64} << 10;
  for (const auto& [name, tensor] : catalogue) {
    bytes += 1024 + name.size() + sizeof(float) * static_cast<std::uint64_t>(value_count(tensor.shape));
  }
  return bytes;
}

// "/optimizer/exp_avg/head.weight" gives /optimizer and /optimizer/exp_avg.
void create_groups_above(hid_t file, const std::string& name, std::set<std::string>& made,
                         const std::string& where) {
  for (std::size_t end = name.find('/', 1); end != std::string::npos; end = name.find('/', end + 1)) {
    const std::string group = name.substr(0, end);
    if (made.insert(group).second) hdf5::create_group(file, group, where);
  }
}

void create_datasets(hid_t file, const Catalogue& catalogue, const std::string& where) {
  std::set<std::string> groups;
  for (const auto& [name, tensor] : catalogue) {
    create_groups_above(file, name, groups, where);
    hdf5::create_dataset(file, name, H5T_IEEE_F32LE, tensor.shape, where);
  }
}

// The file with all datasets and no values, of its full size. The space is tried first and held before others
// write.
void create_file(const std::filesystem::path& path, const Catalogue& catalogue) {
  const std::filesystem::path space = path.string() + ".space";
  reserve_space(space, expected_bytes(catalogue), "a checkpoint", kDiskFix);
  std::filesystem::remove(space);
  const hdf5::Lock lock;
  const hdf5::List access = hdf5::file_access();
  use_checked_metadata(access);
  hdf5::NewFile file(path, access);
  create_datasets(file.get(), catalogue, path.string());
  file.save();
  reserve_space(path, std::filesystem::file_size(path), "a checkpoint", kDiskFix);
  sync_file(path);
}

/// Where in the file the values of each tensor begin. They are stored in one piece.
std::vector<std::uint64_t> offsets_of(const std::filesystem::path& path, const std::vector<Slice>& state) {
  const hdf5::Lock lock;
  const hdf5::File file = hdf5::open_file(path);
  std::vector<std::uint64_t> offsets;
  for (const Slice& slice : state)
    offsets.push_back(H5Dget_offset(hdf5::open_dataset(file.get(), slice.name, path.string()).get()));
  return offsets;
}

// Has the system begin to write what lies in its cache, so that the disk works while this rank goes on. A
// hint.
void begin_writeback(const FileDescriptor& file) {
  ::sync_file_range(file.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
}

void write_slice(const MpiFile& file, std::uint64_t offset, const Slice& slice, const std::string& where) {
  for (std::int64_t done = 0; done < slice.values.numel(); done += kWrittenValues) {
    const std::int64_t count = std::min(kWrittenValues, slice.values.numel() - done);
    const at::Tensor values = slice.values.narrow(0, done, count).cpu();
    const auto at =
        static_cast<MPI_Offset>(offset + sizeof(float) * static_cast<std::uint64_t>(slice.begin + done));
    // Independent: Open MPI 4.1's collective transfers damage data (open-mpi/ompi#12718).
    check_io(MPI_File_write_at(file.get(), at, values.const_data_ptr<float>(), static_cast<int>(count),
                               MPI_FLOAT, MPI_STATUS_IGNORE),
             "write", where);
  }
}

}  // namespace

// HDF5 makes the file, and MPI-IO fills it: ranks whose disk fails while HDF5 closes a parallel file, which
// writes to it, leave the others waiting for them.
void write_state(const std::filesystem::path& path, const Catalogue& catalogue,
                 const std::vector<Slice>& state, comm::Communicator& ranks) {
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) create_file(path, catalogue);
  });
  std::vector<std::uint64_t> offsets;
  comm::together(ranks, [&] { offsets = offsets_of(path, state); });
  MpiFile file;
  comm::together(ranks, [&] {
    check_io(MPI_File_open(MPI_Comm_f2c(ranks.mpi_handle()), path.c_str(), MPI_MODE_RDWR, MPI_INFO_NULL,
                           file.out()),
             "open", path.string());
  });
  comm::together(ranks, [&] {
    const FileDescriptor same_file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    for (std::size_t i = 0; i < state.size(); ++i) {
      write_slice(file, offsets[i], state[i], fmt::format("{}: {}", path.string(), state[i].name));
      begin_writeback(same_file);
    }
  });
  comm::together(ranks, [&] {
    MPI_File closing = file.release();
    check_io(MPI_File_close(&closing), "close", path.string());
  });
}

}  // namespace cohort::checkpoint
