#include "data/shard_rows.h"

#include <cstring>
#include <string_view>
#include <utility>

#include <torch/types.h>

#include "cohort/core/error.h"

namespace cohort::data {
namespace {

void append(std::string& text, const auto& number) {
  const auto bytes = std::as_bytes(std::span(&number, 1));
  text.append(static_cast<const char*>(static_cast<const void*>(bytes.data())), bytes.size());
}

template <class Number>
Number taken(std::string_view& text) {
  COHORT_CHECK(text.size() >= sizeof(Number), "rows of a shard end early");
  Number number{};
  std::memcpy(&number, text.data(), sizeof number);
  text.remove_prefix(sizeof number);
  return number;
}

/// As bytes, for another rank of the same program: numbers of columns and rows, then row after row.
std::string packed_rows(const RowTable& all, std::span<const std::int64_t> order) {
  std::string text;
  append(text, all.labels().size());
  append(text, all.contexts().size());
  append(text, order.size());
  for (const std::int64_t row : order) {
    append(text, row);
    append(text, all.splits()[row]);
    for (const auto* columns : {&all.labels(), &all.contexts()}) {
      for (const PackedIndices& column : *columns) append(text, column[row]);
    }
    append(text, all.ids()[row].size());
    text += all.ids()[row];
  }
  return text;
}

ShardRows unpacked_rows(std::string_view text) {
  Row row;
  row.labels.resize(taken<std::size_t>(text));
  row.contexts.resize(taken<std::size_t>(text));
  ShardRows shard;
  const auto count = taken<std::size_t>(text);
  shard.source.reserve(count);
  while (shard.source.size() < count) {
    shard.source.push_back(taken<std::int64_t>(text));
    row.split = taken<std::int32_t>(text);
    for (auto* values : {&row.labels, &row.contexts}) {
      for (std::int32_t& value : *values) value = taken<std::int32_t>(text);
    }
    const auto length = taken<std::size_t>(text);
    row.id = text.substr(0, length);
    text.remove_prefix(length);
    shard.rows.add(row);
  }
  return shard;
}

}  // namespace

ShardRows shard_rows(const RowTable& all, std::span<const std::int64_t> order) {
  ShardRows shard{{}, {order.begin(), order.end()}};
  for (const std::int64_t row : order) shard.rows.add(all[row]);
  return shard;
}

RowDealer::RowDealer(const RowTable& rows, std::size_t splits, comm::Communicator& ranks)
    : rows_(rows), ranks_(ranks), counts_(splits) {
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) order_ = dataset_order(rows, splits);
  });
  for (std::size_t i = 0; i < order_.size(); ++i) counts_[i] = std::ssize(order_[i]);
  ranks.broadcast(at::from_blob(counts_.data(), {std::ssize(counts_)}, at::kLong)).wait();
}

ShardRows RowDealer::deal(std::span<const ShardPlace> shards) {
  for (const ShardPlace& shard : shards)
    COHORT_CHECK(shard.first + shard.rows <= counts_.at(shard.split), "split {} has {} rows", shard.split,
                 counts_[shard.split]);
  const auto order = [&](std::size_t i) {
    return std::span(order_[shards[i].split])
        .subspan(static_cast<std::size_t>(shards[i].first), static_cast<std::size_t>(shards[i].rows));
  };
  const auto me = static_cast<std::size_t>(ranks_.rank());
  std::string mine;
  for (std::size_t i = 1; i < shards.size(); ++i) {
    std::string text;
    comm::together(ranks_, [&] {
      if (me == 0) text = packed_rows(rows_, order(i));
      COHORT_CHECK(std::in_range<int>(text.size()), "{} bytes of rows for a shard", text.size());
    });
    text = ranks_.broadcast_text(std::move(text));
    if (i == me) mine = std::move(text);
  }
  ShardRows rows;
  comm::together(ranks_, [&] {
    if (me >= shards.size()) return;
    rows = me == 0 ? shard_rows(rows_, order(0)) : unpacked_rows(mine);
  });
  return rows;
}

}  // namespace cohort::data
