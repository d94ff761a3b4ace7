#include "cohort/data/column_reader.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"

namespace cohort::data {

ColumnReader::ColumnReader(std::filesystem::path folder, Description description, const std::string& split)
    : folder_(std::move(folder)),
      description_(std::move(description)),
      entries_(description_.split(split).shards) {}

ColumnReader::ColumnReader(const Dataset& dataset) : description_(dataset.description()), whole_(&dataset) {}

/// The shard of a row.
ColumnReader::Held& ColumnReader::holding(std::int64_t row) {
  if (held_ && row >= held_->first && row < held_->first + held_->shard.rows()) return *held_;
  std::int64_t first = 0;
  for (const ShardEntry& entry : entries_) {
    if (row < first + entry.rows) {
      held_.reset();
      held_.emplace(Held{
          first, ShardReader::open(folder_, entry, description_.images, description_.codec), {}, {}, {}});
      return *held_;
    }
    first += entry.rows;
  }
  COHORT_CHECK(false, "row {} of {}", row, first);
}

/// `column(held)`: that of the shard that is held.
template <class Value, class Column>
std::vector<Value> ColumnReader::rows(std::int64_t first, std::int64_t count, const Column& column) {
  std::vector<Value> all;
  while (std::ssize(all) < count) {
    const std::int64_t row = first + std::ssize(all);
    Held& held = holding(row);
    const std::int64_t at = row - held.first,
                       here = std::min(count - std::ssize(all), held.shard.rows() - at);
    const std::vector<Value>& values = column(held);
    all.insert(all.end(), values.begin() + at, values.begin() + at + here);
  }
  return all;
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
  return rows<std::string>(first, count, [](Held& held) -> const std::vector<std::string>& {
    if (!held.ids) held.ids = held.shard.ids();
    return *held.ids;
  });
}

std::vector<std::int32_t> ColumnReader::contexts(const std::string& key, std::int64_t first,
                                                 std::int64_t count) {
  if (whole_ != nullptr)
    return {whole_->contexts(key).begin() + first, whole_->contexts(key).begin() + first + count};
  return rows<std::int32_t>(first, count, [&](Held& held) -> const std::vector<std::int32_t>& {
    const auto [found, is_new] = held.contexts.try_emplace(key);
    if (is_new) {
      found->second = held.shard.contexts(key);
      check(found->second, 0, description_.context(key).values.size(), key);
    }
    return found->second;
  });
}

std::vector<std::int32_t> ColumnReader::labels(const std::string& name, std::int64_t first,
                                               std::int64_t count) {
  if (whole_ != nullptr)
    return {whole_->labels(name).begin() + first, whole_->labels(name).begin() + first + count};
  return rows<std::int32_t>(first, count, [&](Held& held) -> const std::vector<std::int32_t>& {
    const auto [found, is_new] = held.labels.try_emplace(name);
    if (is_new) {
      found->second = held.shard.labels(name);
      check(found->second, -1, description_.label(name).classes.size(), name);
    }
    return found->second;
  });
}

std::vector<std::int32_t> ColumnReader::column(const std::string& name, std::int64_t first,
                                               std::int64_t count) {
  return description_.has_label(name) ? labels(name, first, count) : contexts(name, first, count);
}

std::int64_t ColumnReader::row_count() const noexcept {
  if (whole_ != nullptr) return whole_->rows();
  return std::accumulate(entries_.begin(), entries_.end(), std::int64_t{0},
                         [](std::int64_t sum, const ShardEntry& entry) { return sum + entry.rows; });
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
