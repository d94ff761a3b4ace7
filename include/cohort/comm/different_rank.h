#pragma once
#include <optional>
#include <string>

#include "cohort/comm/communicator.h"

namespace cohort::comm {

/// A rank whose text is not that of rank 0.
struct DifferentRank {
  int rank = 0;
  std::string host, first, other;  ///< `first`: the text of rank 0; `other`: that of `rank`
  /// "rank 3 on n2".
  [[nodiscard]] std::string place() const;
};

/// Collective. The first rank whose text differs from that of rank 0, the same on all ranks; nothing when all
/// have the same. Sends checksums, and texts only when they differ.
std::optional<DifferentRank> different_rank(const std::string& text, Communicator& ranks);

}  // namespace cohort::comm
