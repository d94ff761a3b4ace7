#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "cohort/comm/communicator.h"

#include "data_prep/image.h"

namespace cohort::data_prep {

/// How many images have each remark.
class RemarkCounts {
 public:
  void add(const Remarks& remarks);
  /// Collective. Logs a line for each remark that any image of any rank has. `keeps_jpeg`: JPEG files that
  /// need not be turned are kept as they are.
  void log(comm::Communicator& ranks, bool keeps_jpeg) const;

 private:
  static constexpr std::size_t kKinds = 8;
  std::array<std::int64_t, kKinds> counts_{};
};

}  // namespace cohort::data_prep
