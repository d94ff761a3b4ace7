#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "cohort/core/handle.h"

namespace cohort {

struct FileDescriptorTraits {
  using type = int;
  static type null() noexcept { return -1; }
  static void close(type descriptor) noexcept;
};
using FileDescriptor = Handle<FileDescriptorTraits>;

/// What to do about an error number of the system (ENOSPC, EROFS, ESTALE, EIO …): the `fix` of an Error.
/// `otherwise` for those that say nothing of the disk.
std::string disk_remedy(int error, std::string otherwise = "check the path and the permissions");

/// Whether a name that is a link is followed: yes for what the user names, no for what lies in a run folder,
/// which may come from somebody else.
enum class Links { follow, refuse };

/// Opens a regular file for reading. Whatever else has that name (a folder, FIFO, device or socket, and with
/// Links::refuse a link) is refused, at once. Throws DataError.
FileDescriptor open_file(const std::filesystem::path& file, Links links = Links::follow);

/// The same for writing behind its end, without links; a file that is not there is made.
FileDescriptor open_to_append(const std::filesystem::path& file);

/// Throws DataError when there is something at `path` that is no regular file, or with refuse_no_folder() no
/// folder, itself: a link, FIFO or device. For what libraries open by its name.
void refuse_no_file(const std::filesystem::path& path);
void refuse_no_folder(const std::filesystem::path& path);

/// The most that is read whole of a file that may come from somebody else: of settings; of records and
/// descriptions, which grow with a run or a dataset; of a picture.
inline constexpr std::uint64_t kMostSettings = std::uint64_t{4} << 20, kMostRecords = std::uint64_t{2} << 30,
                               kMostPicture = std::uint64_t{64} << 20, kAnySize = ~std::uint64_t{0};

/// The whole file, opened by open_file(). Throws DataError naming the file and the system's reason, also when
/// it has more than `most` bytes.
std::string read_file(const std::filesystem::path& file, std::uint64_t most = kAnySize,
                      Links links = Links::follow);

/// All bytes. Throws DataError naming `file`: "cannot write the metrics: No space left on device".
void write_all(const FileDescriptor& to, std::span<const std::byte> bytes, const std::filesystem::path& file,
               const char* action = "write the file");

/// A file that appears whole or not at all: readers see the old content or the new, never half. It is written
/// beside, and removed unless commit() was called. A link of that name is replaced, not followed. Not
/// movable.
class AtomicFile {
 public:
  /// Throws DataError.
  explicit AtomicFile(std::filesystem::path file);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();
  /// Throws DataError (disk full …).
  void write(std::span<const std::byte> bytes);
  /// Once: syncs the content, renames it into place and syncs the folder. Throws DataError.
  void commit();

 private:
  std::filesystem::path file_, beside_;
  FileDescriptor descriptor_;
};

/// The same for content that is in memory. Throws DataError (disk full, no permission …) and then leaves the
/// old file as it was.
void write_file_atomically(const std::filesystem::path& file, std::string_view content);

/// Makes the file `to` anew with the content of `from`. Where `from` has holes, `to` has holes as well. Not
/// synced. Throws DataError; what lies at `to` is then not to be used.
void copy_sparse(const FileDescriptor& from, const std::filesystem::path& to);

/// Makes the names in a folder durable (fsync of the folder). Throws DataError.
void sync_folder(const std::filesystem::path& folder);

/// Makes the content of a file durable (fsync of the file). Throws DataError.
void sync_file(const std::filesystem::path& file);

/// Creates the folder and its parents. Throws DataError when that is impossible or when one cannot write into
/// it.
void make_writable_folder(const std::filesystem::path& folder);

}  // namespace cohort
