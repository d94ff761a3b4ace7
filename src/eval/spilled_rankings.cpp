#include "eval/spilled_rankings.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include <ATen/ATen.h>

#include "cohort/core/error.h"

namespace cohort::eval {
namespace {

constexpr std::size_t kInMemory = std::size_t{16} << 20, kChunk = std::size_t{4} << 20;
constexpr int kDigit = 16;  // bits that images are counted by at once
constexpr std::size_t kBuckets = std::size_t{1} << kDigit;

/// Bits that ascend as the numbers do; -0 is 0.
std::uint64_t key_of(double value) {
  constexpr std::uint64_t kSign = std::uint64_t{1} << 63;
  const auto bits = std::bit_cast<std::uint64_t>(value + 0.0);
  return (bits & kSign) != 0 ? ~bits : bits | kSign;
}

/// Sorted.
std::vector<std::uint64_t> gathered(const std::vector<std::int64_t>& keys, comm::Communicator& ranks) {
  const at::Tensor all = ranks.gather_rows(at::tensor(keys, at::kLong));
  const auto* first = all.const_data_ptr<std::int64_t>();
  std::vector<std::uint64_t> sorted;
  for (std::int64_t i = 0; i < all.numel(); ++i) sorted.push_back(static_cast<std::uint64_t>(first[i]));
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

/// How many from `from` on are equal to `key`.
std::int64_t equal_ones(const std::vector<std::uint64_t>& keys, std::size_t from, std::uint64_t key) {
  std::size_t end = from;
  while (end < keys.size() && keys[end] == key) ++end;
  return static_cast<std::int64_t>(end - from);
}

/// `values` [rows, columns], row by row, are appended column by column.
template <class Value>
void append_columns(const std::vector<Value>& values, std::size_t columns, Spill& spill) {
  std::vector<Value> column(values.size() / columns);
  for (std::size_t c = 0; c < columns; ++c) {
    for (std::size_t row = 0; row < column.size(); ++row) column[row] = values[row * columns + c];
    spill.append(std::as_bytes(std::span(column)));
  }
}

/// Of a mean of places among `others`, seen from `count` images: sum of squares of twice the places, mean
/// place.
double variance(double squares, double mean, std::int64_t count, std::int64_t others) {
  const auto n = static_cast<double>(count), width = 2 * static_cast<double>(others);
  return std::max(0.0, squares / (width * width) - n * mean * mean) / (n - 1) / n;
}

}  // namespace

std::uint64_t Spill::append(std::span<const std::byte> bytes) {
  const std::uint64_t begin = size_;
  if (!file_ && memory_.size() + bytes.size() > kInMemory) to_file();
  if (file_)
    file_->write(begin, bytes);
  else
    memory_.insert(memory_.end(), bytes.begin(), bytes.end());
  size_ += bytes.size();
  return begin;
}

void Spill::to_file() {
  file_.emplace("scores").write(0, memory_);
  std::vector<std::byte>().swap(memory_);
}

void Spill::read(std::uint64_t offset, std::span<std::byte> out) const {
  if (file_)
    file_->read(offset, out);
  else
    std::copy_n(memory_.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
}

void SpilledRankings::add(const at::Tensor& values, std::span<const std::int32_t> labels) {
  const auto* value = values.const_data_ptr<double>();
  labels_.insert(labels_.end(), labels.begin(), labels.end());
  for (std::int64_t i = 0; i < values.numel(); ++i) keys_.push_back(key_of(value[i]));
  if (keys_.size() * sizeof(std::uint64_t) >= kChunk) flush();
}

/// Labels, then the numbers, both column by column.
void SpilledRankings::flush() {
  if (labels_.empty()) return;
  chunks_.push_back({spill_.append({}), std::ssize(labels_) / label_columns()});
  append_columns(labels_, static_cast<std::size_t>(label_columns()), spill_);
  append_columns(keys_, static_cast<std::size_t>(columns_), spill_);
  labels_.clear();
  keys_.clear();
}

void SpilledRankings::for_each(const Question& ask,
                               const std::function<void(std::uint64_t key, bool positive)>& use) const {
  std::vector<std::int32_t> labels;
  std::vector<std::uint64_t> keys;
  for (const Chunk& chunk : chunks_) {
    const auto rows = static_cast<std::size_t>(chunk.rows);
    labels.resize(rows);
    keys.resize(rows);
    const auto column = static_cast<std::size_t>(ask.column),
               of_labels = static_cast<std::size_t>(label_columns());
    spill_.read(chunk.offset + (of_labels == 1 ? 0 : column) * rows * sizeof(std::int32_t),
                std::as_writable_bytes(std::span(labels)));
    spill_.read(chunk.offset + rows * (of_labels * sizeof(std::int32_t) + column * sizeof(std::uint64_t)),
                std::as_writable_bytes(std::span(keys)));
    for (std::size_t i = 0; i < rows; ++i) {
      if (labels[i] >= 0) use(keys[i], labels[i] == ask.label);
    }
  }
}

/// What images with the same number say of thresholds: from theirs on, and of the others up to it.
void SpilledRankings::tie_precision(std::int64_t positives, std::int64_t negatives, Count& count) {
  const auto share = [](std::int64_t part, std::int64_t rest) {
    return static_cast<double>(part) / static_cast<double>(part + rest);
  };
  const ThresholdCount from{count.all.positives - count.positives, count.all.negatives - count.negatives};
  count.curves.add(from);
  count.precision.add(static_cast<double>(positives) * share(from.positives, from.negatives));
  count.precision_of_others.add(static_cast<double>(negatives) *
                                share(count.negatives + negatives, count.positives + positives));
}

/// Images that have the same number.
void SpilledRankings::tie(std::int64_t positives, std::int64_t negatives, Count& count) {
  tie_precision(positives, negatives, count);
  const std::int64_t below = 2 * count.negatives + negatives, beneath = 2 * count.positives + positives;
  count.won += static_cast<std::uint64_t>(positives) * static_cast<std::uint64_t>(below);
  count.of_positives +=
      static_cast<double>(positives) * static_cast<double>(below) * static_cast<double>(below);
  count.of_negatives +=
      static_cast<double>(negatives) * static_cast<double>(beneath) * static_cast<double>(beneath);
  count.positives += positives;
  count.negatives += negatives;
}

/// Those whose keys are `first` … `last`.
void SpilledRankings::sort_range(const Question& ask, std::uint64_t first, std::uint64_t last,
                                 Count& count) const {
  Keys mine_positive, mine_negative;
  comm::together(ask.ranks, [&] {
    for_each(ask, [&](std::uint64_t key, bool positive) {
      if (key < first || key > last) return;
      (positive ? mine_positive : mine_negative).push_back(static_cast<std::int64_t>(key));
    });
  });
  const std::vector<std::uint64_t> positive = gathered(mine_positive, ask.ranks),
                                   negative = gathered(mine_negative, ask.ranks);
  for (std::size_t p = 0, n = 0; p < positive.size() || n < negative.size();) {
    const bool takes_positive = n == negative.size() || (p < positive.size() && positive[p] < negative[n]);
    const std::uint64_t key = takes_positive ? positive[p] : negative[n];
    const std::int64_t tied_positives = equal_ones(positive, p, key),
                       tied_negatives = equal_ones(negative, n, key);
    tie(tied_positives, tied_negatives, count);
    p += static_cast<std::size_t>(tied_positives);
    n += static_cast<std::size_t>(tied_negatives);
  }
}

/// Those whose first `bits` bits are `prefix`.
void SpilledRankings::refine(const Question& ask, std::uint64_t prefix, int bits, Count& count) const {
  at::Tensor buckets = at::zeros({2, static_cast<std::int64_t>(kBuckets)}, at::kLong);
  auto* const positives = buckets.mutable_data_ptr<std::int64_t>();
  auto* const negatives = positives + kBuckets;
  const int shift = 64 - bits - kDigit;
  comm::together(ask.ranks, [&] {
    for_each(ask, [&](std::uint64_t key, bool positive) {
      if (bits == 0 || key >> (64 - bits) == prefix)
        ++(positive ? positives : negatives)[(key >> shift) & (kBuckets - 1)];
    });
  });
  ask.ranks.all_reduce(buckets).wait();
  const auto first_key = [&](std::uint64_t bucket) { return (prefix << kDigit | bucket) << shift; };
  const auto last_key = [&](std::uint64_t bucket) {
    return first_key(bucket) | ((std::uint64_t{1} << shift) - 1);
  };
  std::uint64_t begin = 0;
  std::int64_t waiting = 0;  // images of buckets `begin` … that are sorted together
  for (std::uint64_t bucket = 0; bucket <= kBuckets; ++bucket) {
    const std::int64_t here = bucket == kBuckets ? 0 : positives[bucket] + negatives[bucket];
    if (waiting > 0 && (bucket == kBuckets || waiting + here > kTogether)) {
      sort_range(ask, first_key(begin), last_key(bucket - 1), count);
      waiting = 0;
    }
    if (bucket == kBuckets) return;
    if (waiting == 0) begin = bucket;
    if (here <= kTogether)
      waiting += here;
    else if (shift == 0)
      tie(positives[bucket], negatives[bucket], count);
    else
      refine(ask, prefix << kDigit | bucket, bits + kDigit, count);
  }
}

std::optional<Area> SpilledRankings::area(std::int64_t column, std::int32_t label, std::int64_t positives,
                                          std::int64_t negatives, comm::Communicator& ranks) {
  if (positives == 0 || negatives == 0) return std::nullopt;
  comm::together(ranks, [&] { flush(); });
  const Question ask{column, label, ranks};
  Count count({positives, negatives});
  if (positives + negatives <= kTogether)
    sort_range(ask, 0, ~std::uint64_t{0}, count);
  else
    refine(ask, 0, 0, count);
  COHORT_CHECK(count.positives == positives && count.negatives == negatives, "{} of {} images counted",
               count.positives + count.negatives, positives + negatives);
  const double area =
      static_cast<double>(count.won) / 2 / (static_cast<double>(positives) * static_cast<double>(negatives));
  Area found{area,
             std::nullopt,
             count.precision.value() / static_cast<double>(positives),
             count.precision_of_others.value() / static_cast<double>(negatives),
             count.curves.roc(),
             count.curves.precision_recall()};
  constexpr double kNormal = 1.959963984540054;  // of 95 %
  if (std::min(positives, negatives) < 2) return found;
  const double half = kNormal * std::sqrt(variance(count.of_positives, area, positives, negatives) +
                                          variance(count.of_negatives, 1 - area, negatives, positives));
  found.interval = Interval{std::max(0.0, area - half), std::min(1.0, area + half)};
  return found;
}

}  // namespace cohort::eval
