#include "cohort/data/column_reader.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/data/shard_reader.h"

#include "data/shard_format.h"

namespace cohort::data {

ColumnReader::ColumnReader(std::filesystem::path folder, Description description, const std::string& split,
                           std::int64_t most_held)
    : folder_(std::move(folder)),
      description_(std::move(description)),
      entries_(description_.split(split).shards),
      most_held_(most_held) {
  for (const ShardEntry& entry : entries_) starts_.push_back(starts_.back() + entry.rows);
}

ColumnReader::ColumnReader(const Dataset& dataset) : description_(dataset.description()), whole_(&dataset) {}

/// `values_of(shard)`: those of all its rows.
template <class Value, class ValuesOf>
std::vector<Value> ColumnReader::rows(std::int64_t first, std::int64_t count, const ValuesOf& values_of) {
  COHORT_CHECK(first >= 0 && count >= 0 && first + count <= row_count(), "rows {} to {} of {}", first,
               first + count, row_count());
  std::vector<Value> all;
  while (std::ssize(all) < count) {
    const std::int64_t row = first + std::ssize(all);
    const auto behind = std::upper_bound(starts_.begin(), starts_.end(), row);
    const std::vector<Value>& values = values_of(static_cast<std::size_t>(behind - starts_.begin() - 1));
    const std::int64_t at = row - *(behind - 1), here = std::min(count - std::ssize(all), *behind - row);
    all.insert(all.end(), values.begin() + at, values.begin() + at + here);
  }
  return all;
}

const std::vector<std::string>& ColumnReader::ids_of(std::size_t shard) {
  if (ids_ && ids_->shard == shard) return ids_->values;
  ids_.reset();
  ids_ =
      Ids{shard, ShardReader::open(folder_, entries_[shard], description_.images, description_.codec).ids()};
  return ids_->values;
}

const std::vector<std::int32_t>& ColumnReader::column_of(std::size_t shard, const std::string& name,
                                                         const Values& values) {
  const std::pair key(shard, values.path);
  auto found = columns_.find(key);
  if (found == columns_.end()) {
    const std::int64_t rows = entries_[shard].rows;
    while (!columns_.empty() && held_ + rows > most_held_) forget_oldest();
    Column column{ShardReader::column(folder_, entries_[shard], values.path)};
    check(column.values, values.lowest, values.known, name);
    found = columns_.emplace(key, std::move(column)).first;
    held_ += rows;
  }
  found->second.used = ++uses_;
  return found->second.values;
}

void ColumnReader::forget_oldest() {
  const auto oldest = std::min_element(columns_.begin(), columns_.end(), [](const auto& a, const auto& b) {
    return a.second.used < b.second.used;
  });
  held_ -= std::ssize(oldest->second.values);
  columns_.erase(oldest);
}

/// A shard may say anything: what it says is an index into a vocabulary.
void ColumnReader::check(const std::vector<std::int32_t>& column, std::int32_t lowest, std::size_t known,
                         const std::string& name) const {
  for (const std::int32_t value : column) {
    if (value >= lowest && value < static_cast<std::int64_t>(known)) continue;
    throw DataError({fmt::format("column '{}' holds the value {}, dataset.json names {}", name, value, known),
                     folder_.string(), "cohort-data verify lists all damage; convert the images again"});
  }
}

std::vector<std::string> ColumnReader::ids(std::int64_t first, std::int64_t count) {
  if (whole_ != nullptr) return {whole_->ids().begin() + first, whole_->ids().begin() + first + count};
  return rows<std::string>(
      first, count, [&](std::size_t shard) -> const auto& { return ids_of(shard); });
}

std::vector<std::int32_t> ColumnReader::contexts(const std::string& key, std::int64_t first,
                                                 std::int64_t count) {
  if (whole_ != nullptr)
    return {whole_->contexts(key).begin() + first, whole_->contexts(key).begin() + first + count};
  const Values values{shard_format::context_path(key), 0, description_.context(key).values.size()};
  return rows<std::int32_t>(
      first, count, [&](std::size_t shard) -> const auto& { return column_of(shard, key, values); });
}

std::vector<std::int32_t> ColumnReader::labels(const std::string& name, std::int64_t first,
                                               std::int64_t count) {
  if (whole_ != nullptr)
    return {whole_->labels(name).begin() + first, whole_->labels(name).begin() + first + count};
  const Values values{shard_format::label_path(name), -1, description_.label(name).classes.size()};
  return rows<std::int32_t>(
      first, count, [&](std::size_t shard) -> const auto& { return column_of(shard, name, values); });
}

std::vector<std::int32_t> ColumnReader::column(const std::string& name, std::int64_t first,
                                               std::int64_t count) {
  return description_.has_label(name) ? labels(name, first, count) : contexts(name, first, count);
}

std::int64_t ColumnReader::row_count() const noexcept {
  if (whole_ != nullptr) return whole_->rows();
  return starts_.back();
}

std::vector<std::int64_t> count_values(ColumnReader& reader, const std::string& column,
                                       comm::Communicator& ranks) {
  constexpr std::int64_t kRows = 65536;  // read at once
  at::Tensor counts;
  comm::together(ranks, [&] {
    counts = at::zeros({std::ssize(reader.description().values(column))}, at::kLong);
    auto* const count = counts.mutable_data_ptr<std::int64_t>();
    const std::int64_t rows = reader.row_count(), end = rows * (ranks.rank() + 1) / ranks.size();
    for (std::int64_t first = rows * ranks.rank() / ranks.size(); first < end; first += kRows)
      for (const std::int32_t value : reader.column(column, first, std::min(kRows, end - first)))
        if (value >= 0) ++count[value];
  });
  ranks.all_reduce(counts).wait();
  const auto* const first = counts.const_data_ptr<std::int64_t>();
  return {first, first + counts.numel()};
}

}  // namespace cohort::data
