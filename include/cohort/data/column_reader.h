#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cohort/comm/communicator.h"
#include "cohort/data/dataset.h"
#include "cohort/data/shard_reader.h"

namespace cohort::data {

/// Ids, contexts and labels of a split, some rows at a time, where all of them are too many for memory: it
/// holds those of one shard. Fast for rows in ascending order. One thread.
class ColumnReader {
 public:
  /// Of the dataset in `folder`. Throws UsageError: no such split.
  ColumnReader(std::filesystem::path folder, Description description, const std::string& split);
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
  /// The shard that is held, and what was read of it.
  struct Held {
    std::int64_t first = 0;
    ShardReader shard;
    std::optional<std::vector<std::string>> ids;
    std::map<std::string, std::vector<std::int32_t>> contexts, labels;
  };
  Held& holding(std::int64_t row);
  template <class Value, class Column>
  std::vector<Value> rows(std::int64_t first, std::int64_t count, const Column& column);
  void check(const std::vector<std::int32_t>& column, std::int32_t lowest, std::size_t known,
             const std::string& name) const;

  std::filesystem::path folder_;
  Description description_;
  std::vector<ShardEntry> entries_;
  const Dataset* whole_ = nullptr;  // in the place of shards
  std::optional<Held> held_;
};

/// Collective. How many rows have each value of a label or context (Description::values()): [values]. Each
/// rank reads a part of them. Throws UsageError (no such column) or DataError.
std::vector<std::int64_t> count_values(ColumnReader& reader, const std::string& column,
                                       comm::Communicator& ranks);

}  // namespace cohort::data
