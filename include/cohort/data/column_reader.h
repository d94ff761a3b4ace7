#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cohort/comm/communicator.h"
#include "cohort/data/dataset.h"
#include "cohort/data/row_table.h"

namespace cohort::data {

/// Ids, contexts and labels of a split, some rows at a time, where all of them are too many for memory: it
/// holds the ids of one shard, and the labels and contexts of the shards that were read last. Fast for rows
/// in ascending order; of labels and contexts, for those of any order while they are not more than are held.
/// One thread.
class ColumnReader {
 public:
  static constexpr std::int64_t kMostHeld = std::int64_t{16} << 20;  ///< of 1, 2 or 4 bytes: 16 to 64 MiB

  /// Of the dataset in `folder`; holds `most_held` values of labels and contexts, or those of one shard.
  /// Throws UsageError: no such split.
  ColumnReader(std::filesystem::path folder, Description description, const std::string& split,
               std::int64_t most_held = kMostHeld);
  /// Of a dataset that is not on a disk (Dataset::of_source()), which has to outlive it.
  explicit ColumnReader(const Dataset& dataset);

  /// Of rows `first` … `first` + `count` - 1 in dataset order, [count]. Throw DataError.
  std::vector<std::string> ids(std::int64_t first, std::int64_t count);
  std::vector<std::int32_t> contexts(const std::string& key, std::int64_t first, std::int64_t count);
  std::vector<std::int32_t> labels(const std::string& name, std::int64_t first, std::int64_t count);
  /// That of Description::values(): a label, or a context.
  std::vector<std::int32_t> column(const std::string& name, std::int64_t first, std::int64_t count);

  [[nodiscard]] const Description& description() const noexcept { return description_; }
  [[nodiscard]] std::int64_t row_count() const noexcept;

 private:
  /// The ids of a shard.
  struct Ids {
    std::size_t shard = 0;
    std::vector<std::string> values;
  };
  /// A label or context of a shard.
  struct Column {
    PackedIndices values;
    std::int64_t used = 0;  // when
  };
  const std::vector<std::string>& ids_of(std::size_t shard);
  /// Where a label or context lies in a shard, and its values: `lowest` … `known` - 1.
  struct Values {
    std::string path;
    std::int32_t lowest;
    std::size_t known;
  };
  const PackedIndices& column_of(std::size_t shard, const std::string& name, const Values& values);
  void forget_oldest();
  std::vector<std::int32_t> values(std::int64_t first, std::int64_t count, const std::string& name,
                                   const Values& values);
  /// Calls use(shard, first, rows) for each stretch of the rows in one shard: `first` there.
  template <class Use>
  void for_shards(std::int64_t first, std::int64_t count, const Use& use) const;
  void check(const std::vector<std::int32_t>& column, std::int32_t lowest, std::size_t known,
             const std::string& name) const;

  std::filesystem::path folder_;
  Description description_;
  std::vector<ShardEntry> entries_;
  std::vector<std::int64_t> starts_{0};  // first row of each shard, and the one behind the last
  const Dataset* whole_ = nullptr;       // in the place of shards
  std::int64_t most_held_ = kMostHeld, held_ = 0, uses_ = 0;
  std::optional<Ids> ids_;
  std::map<std::pair<std::size_t, std::string>, Column> columns_;  // by shard and path
};

/// Collective. How many rows have each value of a label or context (Description::values()): [values]. Each
/// rank reads a part of them. Throws UsageError (no such column) or DataError.
std::vector<std::int64_t> count_values(ColumnReader& reader, const std::string& column,
                                       comm::Communicator& ranks);

}  // namespace cohort::data
