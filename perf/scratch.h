#pragma once
#include <filesystem>
#include <string>
#include <system_error>

#include "cohort/comm/communicator.h"
#include "cohort/core/file.h"

namespace cohort::perf {

/// A folder below another one that all ranks see, removed by rank 0 in the end.
class Scratch {
 public:
  /// Collective. Throws DataError on all ranks.
  Scratch(const std::filesystem::path& parent, const std::string& name, comm::Communicator& ranks)
      : ranks_(&ranks), path_(parent / name) {
    comm::together(ranks, [&] {
      if (ranks.rank() == 0) make_writable_folder(path_);
    });
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    std::error_code ignored;
    if (ranks_->rank() == 0) std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  comm::Communicator* ranks_;
  std::filesystem::path path_;
};

}  // namespace cohort::perf
