#pragma once
#include <cstddef>
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

/// The whole file. Throws DataError naming the file and the system's reason.
std::string read_file(const std::filesystem::path& file);

/// A file that appears whole or not at all: readers see the old content or the new, never half. It is written
/// beside, and removed unless commit() was called. Not movable.
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
