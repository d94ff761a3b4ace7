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

template <class Use>
void ColumnReader::for_shards(std::int64_t first, std::int64_t count, const Use& use) const {
  COHORT_CHECK(first >= 0 && count >= 0 && first + count <= row_count(), "rows {} to {} of {}", first,
               first + count, row_count());
  const std::int64_t end = first + count;
  for (std::int64_t row = first; row < end;) {
    const auto behind = std::upper_bound(starts_.begin(), starts_.end(), row);
    const std::int64_t here = std::min(end, *behind) - row;
    use(static_cast<std::size_t>(behind - starts_.begin() - 1), row - *(behind - 1), here);
    row += here;
  }
}

const std::vector<std::string>& ColumnReader::ids_of(std::size_t shard) {
  if (ids_ && ids_->shard == shard) return ids_->values;
  ids_.reset();
  ids_ =
      Ids{shard, ShardReader::open(folder_, entries_[shard], description_.images, description_.codec).ids()};
  return ids_->values;
}

const PackedIndices& ColumnReader::column_of(std::size_t shard, const std::string& name,
                                             const Values& values) {
  const std::pair key(shard, values.path);
  auto found = columns_.find(key);
  if (found == columns_.end()) {
    const std::int64_t rows = entries_[shard].rows;
    while (!columns_.empty() && held_ + rows > most_held_) forget_oldest();
    const std::vector<std::int32_t> column = ShardReader::column(folder_, entries_[shard], values.path);
    check(column, values.lowest, values.known, name);
    found = columns_.try_emplace(key).first;
    for (const std::int32_t value : column) found->second.values.add(value);
    held_ += rows;
  }
  found->second.used = ++uses_;
  return found->second.values;
}

void ColumnReader::forget_oldest() {
  const auto oldest = std::min_element(columns_.begin(), columns_.end(), [](const auto& a, const auto& b) {
    return a.second.used < b.second.used;
  });
  held_ -= oldest->second.values.size();
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
  std::vector<std::string> all;
  for_shards(first, count, [&](std::size_t shard, std::int64_t begin, std::int64_t rows) {
    const std::vector<std::string>& ids = ids_of(shard);
    all.insert(all.end(), ids.begin() + begin, ids.begin() + begin + rows);
  });
  return all;
}

std::vector<std::int32_t> ColumnReader::values(std::int64_t first, std::int64_t count,
                                               const std::string& name, const Values& values) {
  std::vector<std::int32_t> all;
  for_shards(first, count, [&](std::size_t shard, std::int64_t begin, std::int64_t rows) {
    const PackedIndices& column = column_of(shard, name, values);
    for (std::int64_t i = begin; i < begin + rows; ++i) all.push_back(column[i]);
  });
  return all;
}

std::vector<std::int32_t> ColumnReader::contexts(const std::string& key, std::int64_t first,
                                                 std::int64_t count) {
  if (whole_ != nullptr)
    return {whole_->contexts(key).begin() + first, whole_->contexts(key).begin() + first + count};
  return values(first, count, key,
                {shard_format::context_path(key), 0, description_.context(key).values.size()});
}

std::vector<std::int32_t> ColumnReader::labels(const std::string& name, std::int64_t first,
                                               std::int64_t count) {
  if (whole_ != nullptr)
    return {whole_->labels(name).begin() + first, whole_->labels(name).begin() + first + count};
  return values(first, count, name,
                {shard_format::label_path(name), -1, description_.label(name).classes.size()});
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
  constexpr std::int64_t kRows = 8192;  // read at once
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
