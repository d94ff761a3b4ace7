#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cohort/comm/communicator.h"
#include "cohort/data/row_table.h"

namespace cohort::data {

/// The rows of a shard in the order of the file.
struct ShardRows {
  RowTable rows;
  std::vector<std::int64_t> source;  ///< number of each row in the list that it comes from
};

/// Rows `order` of `all`.
ShardRows shard_rows(const RowTable& all, std::span<const std::int64_t> order);

/// Where the rows of a shard lie: a run of those of a split in dataset order.
struct ShardPlace {
  std::size_t split = 0;
  std::int64_t first = 0, rows = 0;
};

/// Rows that rank 0 alone has, in the order of the dataset; it hands them out shard by shard, so that they
/// are in memory once, however many ranks there are.
class RowDealer {
 public:
  /// Collective. `rows`: those of rank 0; it has to outlive this.
  RowDealer(const RowTable& rows, std::size_t splits, comm::Communicator& ranks);
  /// Rows of each split, on every rank.
  [[nodiscard]] const std::vector<std::int64_t>& counts() const noexcept { return counts_; }
  /// Collective. Rank r gets the rows of shards[r]; ranks beyond them get none.
  ShardRows deal(std::span<const ShardPlace> shards);

 private:
  const RowTable& rows_;
  comm::Communicator& ranks_;
  std::vector<std::vector<std::int64_t>> order_;  // of rank 0
  std::vector<std::int64_t> counts_;
};

}  // namespace cohort::data
