#pragma once
#include <cstddef>
#include <filesystem>

namespace cohort::checkpoint {

/// A file's bytes as memory. Pages are read when they are touched, and the system takes them back when it
/// needs memory; what is written to them stays in this process. The file must not get shorter meanwhile.
class FileMapping {
 public:
  /// `bytes`: of the file, at least 1. Throws DataError.
  FileMapping(const std::filesystem::path& file, std::size_t bytes);
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;
  ~FileMapping();

  [[nodiscard]] std::byte* data() const noexcept { return static_cast<std::byte*>(start_); }

 private:
  void* start_;
  std::size_t bytes_;
};

}  // namespace cohort::checkpoint
