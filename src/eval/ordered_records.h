#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "cohort/comm/communicator.h"

#include "eval/spilled_rankings.h"

namespace cohort::eval {

/// Records of all ranks in one order, that of their numbers from the first one on, whatever rank has them and
/// whatever there are of them. Ranks write theirs down in sorted runs (Spill), and merge them: in every round
/// a rank offers its next ones, all that come before the first end of these offers travel, and are used by
/// every rank. A rank holds 16 MiB of what it adds beside the Spill; later 8 KiB of each run of 16 MiB, and
/// kTogether records of all ranks.
class OrderedRecords {
 public:
  using Record = std::array<std::int64_t, 8>;
  static constexpr std::size_t kTogether = std::size_t{1} << 17;
  static constexpr std::size_t kRun = std::size_t{1} << 18;  ///< records

  /// Throws DataError.
  void add(const Record& record);
  /// Collective, once. `use` gets every record, in ascending order, on every rank; it must not throw.
  void for_each(comm::Communicator& ranks, const std::function<void(const Record&)>& use);

 private:
  /// A sorted run, of which a block is in memory.
  struct Run {
    std::uint64_t offset = 0;
    std::size_t left = 0;  // records that are not in `block` yet
    std::vector<Record> block;
    std::size_t next = 0;
  };

  void flush();
  [[nodiscard]] bool refill(Run& run) const;
  void offer(std::size_t count);
  std::vector<Record> take_first(comm::Communicator& ranks, bool& is_last);

  Spill spill_;
  std::vector<Record> fresh_;  // of the next run
  std::vector<Run> runs_;
  std::vector<std::size_t> heap_;  // runs, the one with the least next record first
  std::vector<Record> offered_;    // the least ones of this rank, in order
};

}  // namespace cohort::eval
