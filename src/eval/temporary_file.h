#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "cohort/core/file.h"

namespace cohort::eval {

/// A file without a name in the system's folder for temporary files (TMPDIR), which is gone with this. What
/// was never written below its end reads as zeros, and takes no room.
class TemporaryFile {
 public:
  /// `content`: "scores", as messages name it. Throws DataError.
  explicit TemporaryFile(const char* content);
  /// Its end from here on. Throws DataError.
  void resize(std::uint64_t bytes);
  void write(std::uint64_t offset, std::span<const std::byte> bytes);
  /// Below its end.
  void read(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  [[noreturn]] void refuse(const char* action, int error) const;

  const char* content_;
  FileDescriptor file_;
};

}  // namespace cohort::eval
