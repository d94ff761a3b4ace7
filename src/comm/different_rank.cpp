#include "cohort/comm/different_rank.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/host.h"

namespace cohort::comm {

std::string DifferentRank::place() const {
  return fmt::format("rank {} on {}", rank, host);
}

std::optional<DifferentRank> different_rank(const std::string& text, Communicator& ranks) {
  const auto sums =
      ranks.gather_texts(checksum_text(checksum(std::as_bytes(std::span(text.data(), text.size())))));
  const auto found = std::find_if(sums.begin(), sums.end(), [&](const auto& sum) { return sum != sums[0]; });
  if (found == sums.end()) return std::nullopt;
  const auto rank = static_cast<int>(found - sums.begin());
  return DifferentRank{rank, ranks.broadcast_text(host_name(), rank), ranks.broadcast_text(text, 0),
                       ranks.broadcast_text(text, rank)};
}

}  // namespace cohort::comm
