#pragma once

// HDF5 handles and checks for the .cpp files of layers that read or write HDF5. Header only; never included
// by a public header. The library is not thread-safe as Debian builds it: code that may run while a
// checkpoint is written in the background (reading shards, checkpoints themselves) holds Lock.
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <type_traits>
#include <unistd.h>
#include <vector>

#include <fmt/core.h>
#include <hdf5.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/handle.h"

extern "C" void* H5I_remove(hid_t id) __attribute__((weak));

namespace cohort::hdf5 {

/// One thread of the process at a time; it may nest. Declared before the handles of its scope, which are
/// closed under it. Whoever holds it waits for other ranks only within a collective call of HDF5.
class Lock {
 public:
  Lock() : lock_(mutex()) {}

 private:
  static std::recursive_mutex& mutex() {
    static std::recursive_mutex only;
    return only;
  }
  std::lock_guard<std::recursive_mutex> lock_;
};

template <herr_t (*Close)(hid_t)>
struct IdTraits {
  using type = hid_t;
  static type null() noexcept { return H5I_INVALID_HID; }
  static void close(type id) noexcept { Close(id); }
};

/// H5Fclose. A file that its disk does not let HDF5 1.10 close is freed but keeps its id, and the end of the
/// library, within MPI_Finalize, crashes on it: the id is taken away. Later versions hide that function.
inline herr_t close_file(hid_t file) noexcept {
  const herr_t result = H5Fclose(file);
  if (result < 0 && H5I_remove != nullptr) H5I_remove(file);
  return result;
}
using File = Handle<IdTraits<close_file>>;
using Group = Handle<IdTraits<H5Gclose>>;
using Dataset = Handle<IdTraits<H5Dclose>>;
using Attribute = Handle<IdTraits<H5Aclose>>;
using Space = Handle<IdTraits<H5Sclose>>;
using Type = Handle<IdTraits<H5Tclose>>;
using List = Handle<IdTraits<H5Pclose>>;  ///< property list

/// The innermost entry of HDF5's error stack: "file write failed: … errno = 28, error message = 'No space
/// left on device'".
inline std::string deepest_error() {
  std::string text;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned depth, const H5E_error2_t* entry, void* out) -> herr_t {
        if (depth == 0 && entry->desc != nullptr) *static_cast<std::string*>(out) = entry->desc;
        return 0;
      },
      &text);
  return text.empty() ? "no reason given" : text;
}

/// The number of the system's error in a text of HDF5 ("… errno = 28, …"); 0: it names none.
inline int system_error_in(const std::string& text) {
  constexpr std::string_view kMark = "errno = ";
  const auto at = text.find(kMark);
  return at == std::string::npos ? 0 : std::atoi(text.c_str() + at + kMark.size());
}

/// Returns `result` of the HDF5 function `call`; throws DataError quoting HDF5's own reason when it is
/// negative. `where`: the file, and what is read or written in it. `fix`: unless the disk is the reason.
template <class Result>
Result check_hdf5(Result result, std::string_view call, const std::string& where,
                  const std::string& fix = {}) {
  static_assert(std::is_signed_v<Result>);
  if (result >= 0) return result;
  const std::string reason = deepest_error();
  const int error = system_error_in(reason);
  if (error == ENOMEM)
    throw MemoryError({fmt::format("out of memory: {} failed", call), where, "use a node with more memory"});
  throw DataError({fmt::format("{} failed: {}", call, error == 0 ? reason : std::strerror(error)), where,
                   disk_remedy(error, fix)});
}

/// HDF5 prints its error stack to stderr unless told otherwise; ours quote it. The functions below that make
/// files call it.
inline void silence() {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

/// File access list with the settings of all of Cohort's files: readable by HDF5 1.10 and later.
inline List file_access() {
  silence();
  List access(check_hdf5(H5Pcreate(H5P_FILE_ACCESS), "H5Pcreate", "file access list"));
  check_hdf5(H5Pset_libver_bounds(access.get(), H5F_LIBVER_EARLIEST, H5F_LIBVER_V110), "H5Pset_libver_bounds",
             "file access list");
  return access;
}

/// A creation list of `kind` (H5P_FILE_CREATE, H5P_GROUP_CREATE, H5P_DATASET_CREATE) without time stamps, so
/// that equal content gives equal bytes.
inline List creation(hid_t kind) {
  List list(check_hdf5(H5Pcreate(kind), "H5Pcreate", "creation list"));
  check_hdf5(H5Pset_obj_track_times(list.get(), false), "H5Pset_obj_track_times", "creation list");
  return list;
}

/// The structure of a file, made in memory and then put on the disk. HDF5 1.10 cannot close a file whose disk
/// refuses to take it, and then crashes in MPI_Finalize: here it never meets a disk, /dev/shm included, which
/// may be small. Nobody else sees it, and nothing stays when the process is killed. Space that was reserved
/// and not written (create_dataset) takes no memory; large values are written behind save(), without HDF5.
class NewFile {
 public:
  /// `path`: where it is going to be. Throws DataError.
  explicit NewFile(std::filesystem::path path, const List& access = file_access()) : path_(std::move(path)) {
    memory_ = FileDescriptor(::memfd_create("cohort", MFD_CLOEXEC));
    if (!memory_)
      throw DataError({fmt::format("cannot make a file in memory: {}", std::strerror(errno)), path_.string(),
                       disk_remedy(errno)});
    const std::string name = fmt::format("/proc/self/fd/{}", memory_.get());
    // HDF5 resolves links for its other drivers, and this one leads to no path.
    check_hdf5(H5Pset_fapl_stdio(access.get()), "H5Pset_fapl_stdio", path_.string());
    const List create = creation(H5P_FILE_CREATE);
    const hid_t file = H5Fcreate(name.c_str(), H5F_ACC_TRUNC, create.get(), access.get());
    file_ = File(check_hdf5(file, "H5Fcreate", path_.string()));
  }
  [[nodiscard]] hid_t get() const noexcept { return file_.get(); }
  /// Once, when all that was opened in it is closed: puts it on the disk, not synced. Throws DataError; what
  /// lies there is then not to be used.
  void save() {
    check_hdf5(close_file(file_.release()), "H5Fclose", path_.string());
    copy_sparse(memory_, path_);
  }

 private:
  std::filesystem::path path_;
  FileDescriptor memory_;
  File file_;
};

/// For reading, without file locks: parallel file systems are often mounted without them.
inline File open_file(const std::filesystem::path& path) {
  const List access = file_access();
#if H5_VERSION_GE(1, 10, 7) && !(H5_VERS_MINOR == 12 && H5_VERS_RELEASE == 0)
  check_hdf5(H5Pset_file_locking(access.get(), false, true), "H5Pset_file_locking", path.string());
#endif
  return File(check_hdf5(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), "H5Fopen", path.string()));
}

/// Whether `name` (one level below `parent`) is there.
inline bool exists(hid_t parent, const std::string& name, const std::string& where) {
  return check_hdf5(H5Lexists(parent, name.c_str(), H5P_DEFAULT), "H5Lexists", where) > 0;
}

inline Group create_group(hid_t parent, const std::string& name, const std::string& where) {
  const List create = creation(H5P_GROUP_CREATE);
  return Group(check_hdf5(H5Gcreate2(parent, name.c_str(), H5P_DEFAULT, create.get(), H5P_DEFAULT),
                          "H5Gcreate2", fmt::format("{}: {}", where, name)));
}

inline Group open_group(hid_t parent, const std::string& name, const std::string& where) {
  return Group(check_hdf5(H5Gopen2(parent, name.c_str(), H5P_DEFAULT), "H5Gopen2",
                          fmt::format("{}: {}", where, name)));
}

inline Space make_space(std::span<const std::int64_t> shape, const std::string& where) {
  const std::vector<hsize_t> sizes(shape.begin(), shape.end());
  return Space(check_hdf5(sizes.empty()
                              ? H5Screate(H5S_SCALAR)
                              : H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr),
                          "H5Screate_simple", where));
}

/// A contiguous dataset whose space is reserved now and not filled.
inline Dataset create_dataset(hid_t parent, const std::string& name, hid_t type,
                              std::span<const std::int64_t> shape, const std::string& where) {
  const List create = creation(H5P_DATASET_CREATE);
  check_hdf5(H5Pset_layout(create.get(), H5D_CONTIGUOUS), "H5Pset_layout", where);
  check_hdf5(H5Pset_alloc_time(create.get(), H5D_ALLOC_TIME_EARLY), "H5Pset_alloc_time", where);
  check_hdf5(H5Pset_fill_time(create.get(), H5D_FILL_TIME_NEVER), "H5Pset_fill_time", where);
  const Space space = make_space(shape, where);
  return Dataset(
      check_hdf5(H5Dcreate2(parent, name.c_str(), type, space.get(), H5P_DEFAULT, create.get(), H5P_DEFAULT),
                 "H5Dcreate2", fmt::format("{}: {}", where, name)));
}

inline Dataset open_dataset(hid_t parent, const std::string& name, const std::string& where) {
  return Dataset(check_hdf5(H5Dopen2(parent, name.c_str(), H5P_DEFAULT), "H5Dopen2",
                            fmt::format("{}: {}", where, name)));
}

/// Whether the dataset `name` ("/labels/site") is there, is reached without links to other places, and has
/// its values in the file itself: a file of others may name any file of this machine as its storage.
inline bool is_inside(hid_t file, const std::string& name, const std::string& where) {
  for (std::size_t end = 0; end != std::string::npos;) {
    end = name.find('/', end + 1);
    const std::string part = name.substr(0, end);
    if (!exists(file, part, where)) return false;
    H5L_info_t link{};
    check_hdf5(H5Lget_info(file, part.c_str(), &link, H5P_DEFAULT), "H5Lget_info", where);
    if (link.type != H5L_TYPE_HARD) return false;
  }
  const Dataset dataset = open_dataset(file, name, where);
  const List list(check_hdf5(H5Dget_create_plist(dataset.get()), "H5Dget_create_plist", where));
  return H5Pget_layout(list.get()) != H5D_VIRTUAL && H5Pget_external_count(list.get()) == 0;
}

/// The same, and the values lie in one piece.
inline bool is_contiguous(hid_t file, const std::string& name, const std::string& where) {
  if (!is_inside(file, name, where)) return false;
  const Dataset dataset = open_dataset(file, name, where);
  const Space space(check_hdf5(H5Dget_space(dataset.get()), "H5Dget_space", where));
  const List list(check_hdf5(H5Dget_create_plist(dataset.get()), "H5Dget_create_plist", where));
  const bool is_empty = H5Sget_simple_extent_npoints(space.get()) == 0;
  return H5Pget_layout(list.get()) == H5D_CONTIGUOUS &&
         (is_empty || H5Dget_offset(dataset.get()) != HADDR_UNDEF);
}

inline std::vector<std::int64_t> shape_of(const Dataset& dataset, const std::string& where) {
  const Space space(check_hdf5(H5Dget_space(dataset.get()), "H5Dget_space", where));
  const int rank = check_hdf5(H5Sget_simple_extent_ndims(space.get()), "H5Sget_simple_extent_ndims", where);
  std::vector<hsize_t> sizes(static_cast<std::size_t>(rank));
  check_hdf5(H5Sget_simple_extent_dims(space.get(), sizes.data(), nullptr), "H5Sget_simple_extent_dims",
             where);
  return {sizes.begin(), sizes.end()};
}

}  // namespace cohort::hdf5
