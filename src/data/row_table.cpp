#include "cohort/data/row_table.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"

namespace cohort::data {
namespace {

constexpr std::int64_t kTextsOfBlock = 256, kIndicesOfBlock = 4096;

std::size_t place_in_block(std::int64_t index, std::int64_t of_block) {
  return static_cast<std::size_t>(index % of_block);
}

std::size_t block_of(std::int64_t index, std::int64_t of_block) {
  return static_cast<std::size_t>(index / of_block);
}

/// Bytes that a number needs, counted from -1.
std::size_t width_of(std::uint32_t code) {
  return code <= UINT8_MAX ? 1 : code <= UINT16_MAX ? 2 : 4;
}

void put(std::uint8_t* to, std::size_t width, std::uint32_t code) {
  for (std::size_t i = 0; i < width; ++i) to[i] = static_cast<std::uint8_t>(code >> (8 * i) & 0xffU);
}

std::uint32_t get(const std::uint8_t* from, std::size_t width) {
  std::uint32_t code = 0;
  for (std::size_t i = 0; i < width; ++i) code |= std::uint32_t{from[i]} << (8 * i);
  return code;
}

std::uint64_t sum_of(std::string_view text) {
  return checksum(std::as_bytes(std::span(text)));
}

/// Those that several texts have, rising.
std::vector<std::uint64_t> repeated_sums(const PackedTexts& texts) {
  std::vector<std::uint64_t> sums, repeated;
  sums.reserve(static_cast<std::size_t>(texts.size()));
  for (std::int64_t i = 0; i < texts.size(); ++i) sums.push_back(sum_of(texts[i]));
  std::sort(sums.begin(), sums.end());
  for (std::size_t i = 1; i < sums.size(); ++i) {
    if (sums[i] == sums[i - 1] && (repeated.empty() || repeated.back() != sums[i]))
      repeated.push_back(sums[i]);
  }
  return repeated;
}

}  // namespace

PackedTexts::PackedTexts(const std::vector<std::string>& texts) {
  for (const std::string& text : texts) add(text);
}

void PackedTexts::add(std::string_view text) {
  if (size_ % kTextsOfBlock == 0) {
    if (!blocks_.empty()) blocks_.back().text.shrink_to_fit();
    blocks_.emplace_back().ends.reserve(kTextsOfBlock);
  }
  Block& block = blocks_.back();
  COHORT_CHECK(block.text.size() + text.size() <= UINT32_MAX, "texts of {} bytes", block.text.size());
  block.text += text;
  block.ends.push_back(static_cast<std::uint32_t>(block.text.size()));
  ++size_;
}

std::string_view PackedTexts::operator[](std::int64_t index) const {
  const Block& block = blocks_[block_of(index, kTextsOfBlock)];
  const std::size_t at = place_in_block(index, kTextsOfBlock), begin = at == 0 ? 0 : block.ends[at - 1];
  return std::string_view(block.text).substr(begin, block.ends[at] - begin);
}

std::optional<std::string> repeated_text(const PackedTexts& texts) {
  const std::vector<std::uint64_t> sums = repeated_sums(texts);
  std::vector<std::string_view> doubtful;  // different texts may have one sum
  for (std::int64_t i = 0; i < texts.size() && !sums.empty(); ++i) {
    if (std::binary_search(sums.begin(), sums.end(), sum_of(texts[i]))) doubtful.push_back(texts[i]);
  }
  std::sort(doubtful.begin(), doubtful.end());
  const auto twice = std::adjacent_find(doubtful.begin(), doubtful.end());
  return twice == doubtful.end() ? std::nullopt : std::optional<std::string>(*twice);
}

PackedIndices::PackedIndices(std::int64_t count, std::int32_t value) {
  while (size_ < count) add(value);
}

void PackedIndices::widen(Block& block, std::size_t width) {
  std::vector<std::uint8_t> bytes(block.bytes.size() / block.width * width);
  for (std::size_t i = 0; i < bytes.size() / width; ++i)
    put(&bytes[i * width], width, get(&block.bytes[i * block.width], block.width));
  block.bytes = std::move(bytes);
  block.width = width;
}

void PackedIndices::add(std::int32_t value) {
  if (size_ % kIndicesOfBlock == 0) blocks_.emplace_back();
  Block& block = blocks_.back();
  block.bytes.resize(block.bytes.size() + block.width);
  set(size_++, value);
}

void PackedIndices::set(std::int64_t index, std::int32_t value) {
  Block& block = blocks_[block_of(index, kIndicesOfBlock)];
  const auto code = static_cast<std::uint32_t>(value) + 1;
  if (const std::size_t width = width_of(code); width > block.width) widen(block, width);
  put(&block.bytes[place_in_block(index, kIndicesOfBlock) * block.width], block.width, code);
}

std::int32_t PackedIndices::operator[](std::int64_t index) const {
  const Block& block = blocks_[block_of(index, kIndicesOfBlock)];
  return static_cast<std::int32_t>(
      get(&block.bytes[place_in_block(index, kIndicesOfBlock) * block.width], block.width) - 1);
}

RowTable::RowTable(std::span<const Row> rows) {
  for (const Row& row : rows) add(row);
}

RowTable::RowTable(PackedTexts ids, std::vector<PackedIndices> labels, std::vector<PackedIndices> contexts)
    : ids_(std::move(ids)), labels_(std::move(labels)), contexts_(std::move(contexts)) {}

void RowTable::add(const Row& row) {
  const auto add_all = [&](std::vector<PackedIndices>& columns, const std::vector<std::int32_t>& values) {
    if (size() == 0) columns.resize(values.size());
    COHORT_CHECK(values.size() == columns.size(), "row '{}' has {} values for {} columns", row.id,
                 values.size(), columns.size());
    for (std::size_t i = 0; i < values.size(); ++i) columns[i].add(values[i]);
  };
  add_all(labels_, row.labels);
  add_all(contexts_, row.contexts);
  splits_.add(row.split);
  ids_.add(row.id);
}

Row RowTable::operator[](std::int64_t row) const {
  Row found{std::string(ids_[row]), splits_[row], {}, {}};
  for (const PackedIndices& column : labels_) found.labels.push_back(column[row]);
  for (const PackedIndices& column : contexts_) found.contexts.push_back(column[row]);
  return found;
}

std::vector<std::vector<std::int64_t>> dataset_order(const RowTable& rows, std::size_t splits) {
  std::vector<std::size_t> counts(splits);
  for (std::int64_t i = 0; i < rows.size(); ++i) {
    const std::int32_t split = rows.splits()[i];
    COHORT_CHECK(std::cmp_greater_equal(split, 0) && std::cmp_less(split, splits),
                 "row '{}' is of split {} of {}", rows.ids()[i], split, splits);
    ++counts[static_cast<std::size_t>(split)];
  }
  std::vector<std::vector<std::int64_t>> order(splits);
  for (std::size_t split = 0; split < splits; ++split) order[split].reserve(counts[split]);
  for (std::int64_t i = 0; i < rows.size(); ++i)
    order[static_cast<std::size_t>(rows.splits()[i])].push_back(i);
  const auto is_before = [&](std::int64_t a, std::int64_t b) {
    for (const PackedIndices& column : rows.contexts()) {
      if (const std::int32_t left = column[a], right = column[b]; left != right) return left < right;
    }
    return rows.ids()[a] < rows.ids()[b];
  };
  for (auto& split : order) std::sort(split.begin(), split.end(), is_before);
  return order;
}

}  // namespace cohort::data
