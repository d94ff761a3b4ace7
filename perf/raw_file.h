#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <sys/types.h>
#include <vector>

#include "cohort/comm/communicator.h"
#include "cohort/core/file.h"

namespace cohort::perf {

/// A plain file of which each rank reads and writes a part in blocks of 16 MiB: what the disk and the page
/// cache can do.
class RawFile {
 public:
  /// `bytes`: of a rank's part, the same on every rank.
  RawFile(std::filesystem::path path, std::int64_t bytes, comm::Communicator& ranks);

  /// This rank's part, synced. Throws DataError, as read() does.
  void write();
  void read();
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  [[nodiscard]] FileDescriptor open(int flags) const;
  template <class Transfer>
  void in_blocks(Transfer&& transfer) const;
  [[noreturn]] void fail() const;

  std::filesystem::path path_;
  std::int64_t begin_, bytes_;
  std::vector<std::byte> block_;
};

}  // namespace cohort::perf
