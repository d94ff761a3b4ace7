#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/rank_status.h"

namespace cohort::comm {

/// What a rank answers when it is asked for an operation.
struct Answer {
  RankStatus status;
  OperationStatus asked;   ///< that operation there; or another one of its communicator, if it is not there
  std::int64_t ended = 0;  ///< operations of the communicator that are done there
  [[nodiscard]] bool has_reached(std::int64_t sequence) const noexcept;
};

/// What a rank waits for: an operation of a communicator, or (id 0) a blocking call of all ranks.
struct Wait {
  std::uint64_t id = 0;
  OperationStatus operation;
  ShortText<32> blocking_call;
  [[nodiscard]] bool is_for_the_same(const Wait& other) const noexcept;
};

/// Who has not come to what is waited for, small enough to be sent. Ranks are those of the communicator.
struct Absentees {
  static constexpr std::size_t kNamed = 64;
  std::array<std::int32_t, kNamed> ranks{};  ///< the first ones
  std::array<bool, kNamed> is_silent{};      ///< those that did not even answer
  std::int32_t count = 0;                    ///< of all
  std::int32_t different = -1;               ///< first rank that called `operation` instead; -1: none did
  OperationStatus operation;

  [[nodiscard]] std::span<const std::int32_t> named() const noexcept;
};

/// From the answers of all ranks of the communicator, by rank; empty: no answer.
Absentees absentees(const Wait& wait, const std::vector<std::optional<Answer>>& answers);

/// Positions in `hosts`, up to three: the first of each host, then the first ones. Of ranks that many others
/// turn to, not all are gone with one host.
std::vector<std::size_t> spread_over_hosts(const std::vector<std::string>& hosts);

}  // namespace cohort::comm
