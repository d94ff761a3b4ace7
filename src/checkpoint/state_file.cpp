#include "state_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <set>
#include <span>

#include <ATen/ops/empty.h>
#include <c10/util/StringUtil.h>
#include <mpi.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/text.h"

#include "hyperslab.h"

namespace cohort::checkpoint {
namespace {

// MPI-IO counts bytes in an int: no transfer may reach 2 GiB.
constexpr std::int64_t kValuesPerTransfer = std::int64_t{1} << 26;

const std::string kDiskFix = "free some space or choose another folder (run_dir)";

// Object headers and group indices of this version carry checksums, so that damage to them is found as well.
void use_checked_metadata(const hdf5::List& access) {
  hdf5::check_hdf5(H5Pset_libver_bounds(access.get(), H5F_LIBVER_V18, H5F_LIBVER_V110),
                   "H5Pset_libver_bounds", "state.h5");
}

hdf5::File open_together(const std::filesystem::path& path, comm::Communicator& ranks) {
  const hdf5::List access = hdf5::file_access();
  hdf5::check_hdf5(H5Pset_fapl_mpio(access.get(), MPI_Comm_f2c(ranks.mpi_handle()), MPI_INFO_NULL),
                   "H5Pset_fapl_mpio", path.string());
  return hdf5::File(
      hdf5::check_hdf5(H5Fopen(path.c_str(), H5F_ACC_RDWR, access.get()), "H5Fopen", path.string()));
}

// Takes the space now. File systems that cannot do this are left alone: their writes fail later, if they do.
void reserve(const std::filesystem::path& path, std::uint64_t bytes) {
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  const int error = !file || ::fallocate(file.get(), 0, 0, static_cast<off_t>(bytes)) != 0 ? errno : 0;
  if (error == 0 || error == EOPNOTSUPP || error == ENOSYS || error == EINVAL) return;
  throw DataError(
      {fmt::format("cannot get {} for a checkpoint: {}", format_bytes(bytes), std::strerror(error)),
       path.parent_path().string(), kDiskFix});
}

// What HDF5 adds to the values, rounded up.
std::uint64_t expected_bytes(const Catalogue& catalogue) {
  std::uint64_t bytes = std::uint64_t{64} << 10;
  for (const auto& [name, tensor] : catalogue.tensors) {
    bytes += 1024 + name.size() + sizeof(float) * static_cast<std::uint64_t>(value_count(tensor.shape));
  }
  return bytes;
}

// "/optimizer/exp_avg/head.weight" gives /optimizer and /optimizer/exp_avg.
void create_groups_above(const hdf5::File& file, const std::string& name, std::set<std::string>& made,
                         const std::string& where) {
  for (std::size_t end = name.find('/', 1); end != std::string::npos; end = name.find('/', end + 1)) {
    const std::string group = name.substr(0, end);
    if (made.insert(group).second) hdf5::create_group(file.get(), group, where);
  }
}

void create_datasets(const hdf5::File& file, const Catalogue& catalogue, const std::string& where) {
  std::set<std::string> groups;
  for (const auto& [name, tensor] : catalogue.tensors) {
    create_groups_above(file, name, groups, where);
    hdf5::create_dataset(file.get(), name, H5T_IEEE_F32LE, tensor.shape, where);
  }
}

// The file with all datasets and no values, of its full size. HDF5 1.10 cannot close a file whose description
// does not fit on the disk any more, and then crashes in MPI_Finalize: so the space is tried before HDF5
// begins, and held before others write.
void create_file(const std::filesystem::path& path, const Catalogue& catalogue) {
  const std::filesystem::path space = path.string() + ".space";
  reserve(space, expected_bytes(catalogue));
  std::filesystem::remove(space);
  const hdf5::List access = hdf5::file_access();
  use_checked_metadata(access);
  hdf5::File file = hdf5::create_file(path, access);
  create_datasets(file, catalogue, path.string());
  hdf5::close(file, path.string());
  reserve(path, std::filesystem::file_size(path));
  sync_file(path);
}

hdf5::Space select(const std::vector<std::int64_t>& shape, std::int64_t begin, std::int64_t count,
                   const std::string& where) {
  hdf5::Space space = hdf5::make_space(shape, where);
  if (shape.empty()) return space;
  H5S_seloper_t operation = H5S_SELECT_SET;
  for (const Box& box : boxes_of_range(shape, begin, count)) {
    const std::vector<hsize_t> start(box.start.begin(), box.start.end()),
        size(box.count.begin(), box.count.end());
    hdf5::check_hdf5(H5Sselect_hyperslab(space.get(), operation, start.data(), nullptr, size.data(), nullptr),
                     "H5Sselect_hyperslab", where);
    operation = H5S_SELECT_OR;
  }
  return space;
}

// Calls transfer(memory space, file space, offset into the slice) for parts of the slice small enough for one
// transfer.
template <class Transfer>
void in_parts(const std::vector<std::int64_t>& shape, std::int64_t begin, std::int64_t count,
              const std::string& where, Transfer&& transfer) {
  for (std::int64_t done = 0; done < count; done += kValuesPerTransfer) {
    const std::int64_t part = std::min(kValuesPerTransfer, count - done);
    const hdf5::Space memory = hdf5::make_space(std::span(&part, 1), where);
    const hdf5::Space selected = select(shape, begin + done, part, where);
    transfer(memory.get(), selected.get(), done);
  }
}

void write_slice(const hdf5::File& file, const Slice& slice, const std::string& where) {
  const hdf5::Dataset dataset = hdf5::open_dataset(file.get(), slice.name, where);
  const at::Tensor values = slice.values.cpu();
  const float* first = values.const_data_ptr<float>();
  in_parts(slice.shape, slice.begin, values.numel(), where,
           [&](hid_t memory, hid_t selected, std::int64_t offset) {
             // H5P_DEFAULT: independent transfers. Open MPI 4.1's collective ones damage data
             // (open-mpi/ompi#12718).
             hdf5::check_hdf5(
                 H5Dwrite(dataset.get(), H5T_NATIVE_FLOAT, memory, selected, H5P_DEFAULT, first + offset),
                 "H5Dwrite", where, kDiskFix);
           });
}

DataError damaged(const std::string& what, const std::filesystem::path& file) {
  return DataError({what, file.string(), "use an earlier checkpoint: resume=<folder of the checkpoint>"});
}

const SavedTensor& find_tensor(const Catalogue& catalogue, const Slice& slice,
                               const std::filesystem::path& file) {
  const auto found = catalogue.tensors.find(slice.name);
  if (found == catalogue.tensors.end()) {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : catalogue.tensors) names.push_back(name);
    throw DataError({fmt::format("the checkpoint has no tensor '{}'", slice.name), file.string(),
                     did_you_mean(slice.name, names)});
  }
  if (found->second.shape != slice.shape) {
    throw DataError(
        {fmt::format("tensor '{}' has the shape {} in the checkpoint, the model needs {}", slice.name,
                     c10::str(at::IntArrayRef(found->second.shape)), c10::str(at::IntArrayRef(slice.shape))),
         file.string(), "resume with the model configuration of the checkpoint, or start a new run"});
  }
  return found->second;
}

}  // namespace

void write_state(const std::filesystem::path& path, const Catalogue& catalogue,
                 const std::vector<Slice>& state, comm::Communicator& ranks) {
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) create_file(path, catalogue);
  });
  hdf5::File file;
  comm::together(ranks, [&] { file = open_together(path, ranks); });
  comm::together(ranks, [&] {
    for (const Slice& slice : state) {
      if (slice.values.numel() > 0)
        write_slice(file, slice, fmt::format("{}: {}", path.string(), slice.name));
    }
  });
  comm::together(ranks, [&] { hdf5::close(file, path.string()); });
}

StateReader::StateReader(const std::filesystem::path& file, const Catalogue& catalogue)
    : path_(file), catalogue_(&catalogue) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(file, error);
  if (error) throw damaged("the checkpoint has no readable state.h5: " + error.message(), file);
  if (bytes != catalogue.file_bytes) {
    throw damaged(fmt::format("the file has {} bytes, {} were saved", bytes, catalogue.file_bytes), file);
  }
  file_ = hdf5::open_file(file);
}

void StateReader::read(const Slice& slice) const {
  const SavedTensor& tensor = find_tensor(*catalogue_, slice, path_);
  const std::int64_t end = slice.begin + slice.values.numel();
  COHORT_CHECK(slice.begin >= 0 && end <= value_count(slice.shape), "a slice [{}, {}) of tensor '{}'",
               slice.begin, end, slice.name);
  for (const SavedSlice& saved : tensor.slices) {
    const std::int64_t first = std::max(slice.begin, saved.begin),
                       last = std::min(end, saved.begin + saved.count);
    if (first >= last) continue;
    const at::Tensor values = read_saved(slice.name, tensor, saved);
    slice.values.narrow(0, first - slice.begin, last - first)
        .copy_(values.narrow(0, first - saved.begin, last - first));
  }
}

at::Tensor StateReader::read_saved(const std::string& name, const SavedTensor& tensor,
                                   const SavedSlice& saved) const {
  const std::string where = fmt::format("{}: {}", path_.string(), name);
  const hdf5::Dataset dataset = hdf5::open_dataset(file_.get(), name, path_.string());
  if (hdf5::shape_of(dataset, where) != tensor.shape)
    throw damaged(fmt::format("tensor '{}' is damaged: its shape changed", name), path_);
  at::Tensor values = at::empty({saved.count}, at::kFloat);
  in_parts(
      tensor.shape, saved.begin, saved.count, where, [&](hid_t memory, hid_t selected, std::int64_t offset) {
        hdf5::check_hdf5(H5Dread(dataset.get(), H5T_NATIVE_FLOAT, memory, selected, H5P_DEFAULT,
                                 values.data_ptr<float>() + offset),
                         "H5Dread", where, "use an earlier checkpoint: resume=<folder of the checkpoint>");
      });
  const auto bytes =
      std::as_bytes(std::span(values.const_data_ptr<float>(), static_cast<std::size_t>(saved.count)));
  if (checksum(bytes) != saved.checksum) {
    throw damaged(fmt::format("tensor '{}' is damaged: values {} to {} do not match their checksum", name,
                              saved.begin, saved.begin + saved.count - 1),
                  path_);
  }
  return values;
}

}  // namespace cohort::checkpoint
