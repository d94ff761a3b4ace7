#pragma once
#include <cstddef>
#include <filesystem>

#include "cohort/core/file.h"

namespace cohort::checkpoint {

/// A file's bytes as memory. Pages are read when they are touched, and the system takes them back when it
/// needs memory; what is written to them stays in this process. When somebody shortens the file meanwhile,
/// the pages behind its end are gone: whoever touches one ends the process with a message and exit code 3.
class FileMapping {
 public:
  /// `bytes`: of the file, at least 1; `name`: for messages. Throws DataError.
  FileMapping(const FileDescriptor& file, std::size_t bytes, const std::filesystem::path& name);
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;
  ~FileMapping();

  [[nodiscard]] std::byte* data() const noexcept { return static_cast<std::byte*>(start_); }

 private:
  void* start_;
  std::size_t bytes_;
};

}  // namespace cohort::checkpoint
