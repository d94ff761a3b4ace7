#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

#include "table_file.h"

namespace cohort::jobs {
namespace {

using eval::Table;

constexpr std::int64_t kRowsAtATime = 4096;
constexpr std::int32_t kNone = -1, kNotSeen = -2;

/// Place of the column of names `key`.
std::size_t place_of(const Table& table, const std::string& key) {
  std::vector<std::string> known;
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    if (!std::holds_alternative<Table::Names>(table.columns[c].content)) continue;
    if (table.columns[c].name == key) return c;
    known.push_back(table.columns[c].name);
  }
  refuse_key(key, known);
}

std::span<const std::int32_t> index_of(const Table::Names& names) {
  return {names.index.const_data_ptr<std::int32_t>(), static_cast<std::size_t>(names.index.size(0))};
}

/// What the rows of each value of a key have in one column: the name that all have, or sums.
struct Shared {
  std::vector<std::int32_t> name;  ///< kNone: they differ; kNotSeen: no row yet
  std::vector<double> sum;         ///< [values, D]

  void start(const Table::Column& column, std::size_t values) {
    if (std::holds_alternative<Table::Names>(column.content)) name.assign(values, kNotSeen);
    if (const auto* numbers = std::get_if<Table::Values>(&column.content))
      sum.assign(values * static_cast<std::size_t>(numbers->values.size(1)), 0.0);
  }
  void add(const Table::Column& column, std::span<const std::int32_t> value_of_row) {
    if (const auto* names = std::get_if<Table::Names>(&column.content)) add_names(*names, value_of_row);
    if (const auto* values = std::get_if<Table::Values>(&column.content)) add_values(*values, value_of_row);
  }

 private:
  void add_names(const Table::Names& names, std::span<const std::int32_t> value_of_row) {
    const auto index = index_of(names);
    for (std::size_t row = 0; row < index.size(); ++row) {
      if (value_of_row[row] < 0) continue;
      std::int32_t& common = name[static_cast<std::size_t>(value_of_row[row])];
      common = common == kNotSeen || common == index[row] ? index[row] : kNone;
    }
  }
  void add_values(const Table::Values& values, std::span<const std::int32_t> value_of_row) {
    const std::int64_t width = values.values.size(1);
    const float* value = values.values.const_data_ptr<float>();
    for (const std::int32_t group : value_of_row) {
      double* out = group < 0 ? nullptr : sum.data() + group * width;
      for (std::int64_t i = 0; i < width && group >= 0; ++i) out[i] += static_cast<double>(value[i]);
      value += width;
    }
  }
};

/// The values of the key that rows have, and how many rows.
struct Present {
  std::vector<std::int32_t> values;
  std::vector<std::int64_t> images;
};

Present present_of(const std::vector<std::int64_t>& images) {
  Present present;
  for (std::size_t value = 0; value < images.size(); ++value) {
    if (images[value] == 0) continue;
    present.values.push_back(static_cast<std::int32_t>(value));
    present.images.push_back(images[value]);
  }
  return present;
}

at::Tensor means_of(const std::vector<double>& sum, std::int64_t width, const Present& present) {
  at::Tensor means = at::empty({std::ssize(present.values), width}, at::kFloat);
  float* out = means.mutable_data_ptr<float>();
  for (std::size_t i = 0; i < present.values.size(); ++i) {
    const double* in = sum.data() + present.values[i] * width;
    for (std::int64_t d = 0; d < width; ++d)
      *out++ = static_cast<float>(in[d] / static_cast<double>(present.images[i]));
  }
  return means;
}

/// Nothing: it differs from row to row.
std::optional<Table::Column> mean_of(const Table::Column& column, const Shared& shared,
                                     const Present& present) {
  if (const auto* same = std::get_if<Table::Same>(&column.content)) return Table::Column{column.name, *same};
  if (const auto* names = std::get_if<Table::Names>(&column.content)) {
    std::vector<std::int32_t> common;
    for (const std::int32_t value : present.values)
      common.push_back(shared.name[static_cast<std::size_t>(value)]);
    return Table::Column{column.name, Table::Names{at::tensor(common, at::kInt), names->names}};
  }
  if (const auto* values = std::get_if<Table::Values>(&column.content))
    return Table::Column{column.name, Table::Values{means_of(shared.sum, values->values.size(1), present),
                                                    values->names, values->is_vector}};
  return std::nullopt;
}

}  // namespace

void refuse_key(const std::string& key, const std::vector<std::string>& known) {
  throw UsageError({fmt::format("the table has no column '{}' to take means by", key), "--mean-by",
                    did_you_mean(key, known)});
}

Table mean_by(const eval::TableBlocks& table, const std::string& key) {
  const Table first = table.block(0, std::min<std::int64_t>(1, table.rows));
  const std::size_t place = place_of(first, key);
  const auto vocabulary = std::get<Table::Names>(first.columns[place].content).names;
  std::vector<Shared> shared(first.columns.size());
  for (std::size_t c = 0; c < shared.size(); ++c) shared[c].start(first.columns[c], vocabulary.size());
  std::vector<std::int64_t> images(vocabulary.size(), 0);
  eval::for_each_block(table, kRowsAtATime, [&](const Table& rows) {
    const auto value_of_row = index_of(std::get<Table::Names>(rows.columns[place].content));
    for (const std::int32_t value : value_of_row)
      if (value >= 0) ++images[static_cast<std::size_t>(value)];
    for (std::size_t c = 0; c < shared.size(); ++c) shared[c].add(rows.columns[c], value_of_row);
  });
  const Present present = present_of(images);
  Table means;
  means.rows = std::ssize(present.values);
  means.columns = {{key, Table::Names{at::tensor(present.values, at::kInt), vocabulary}},
                   {"images", Table::Counts{at::tensor(present.images, at::kLong)}}};
  for (std::size_t c = 0; c < shared.size(); ++c) {
    if (c == place) continue;
    if (auto mean = mean_of(first.columns[c], shared[c], present)) means.columns.push_back(std::move(*mean));
  }
  return means;
}

}  // namespace cohort::jobs
