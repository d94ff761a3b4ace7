#pragma once
#include <filesystem>
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

/// The whole file. Throws DataError naming the file and the system's reason.
std::string read_file(const std::filesystem::path& file);

/// Readers see the old content or the new, never half: written beside, synced, renamed into place, folder
/// synced. Throws DataError (disk full, no permission …) and then leaves the old file as it was.
void write_file_atomically(const std::filesystem::path& file, std::string_view content);

/// Makes the names in a folder durable (fsync of the folder). Throws DataError.
void sync_folder(const std::filesystem::path& folder);

/// Makes the content of a file durable (fsync of the file). Throws DataError.
void sync_file(const std::filesystem::path& file);

/// Creates the folder and its parents. Throws DataError when that is impossible or when one cannot write into
/// it.
void make_writable_folder(const std::filesystem::path& folder);

}  // namespace cohort
