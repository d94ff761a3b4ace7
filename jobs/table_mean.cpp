#include <algorithm>
#include <optional>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

#include "table_file.h"

namespace cohort::jobs {
namespace {

using eval::Table;

/// Which rows belong together.
struct Groups {
  std::vector<std::int64_t> of_row;  ///< -1: to none
  std::vector<std::int32_t> values;  ///< of each group, the number of its name
  std::vector<std::int64_t> images;  ///< of each group
};

const Table::Names& names_of(const Table& table, const std::string& key) {
  std::vector<std::string> known;
  for (const Table::Column& column : table.columns) {
    const auto* names = std::get_if<Table::Names>(&column.content);
    if (names == nullptr) continue;
    if (column.name == key) return *names;
    known.push_back(column.name);
  }
  refuse_key(key, known);
}

Groups groups_by(const Table::Names& key, std::int64_t rows) {
  std::vector<std::int64_t> images(key.names.size(), 0), place(key.names.size(), -1);
  const auto* index = key.index.const_data_ptr<std::int32_t>();
  for (std::int64_t row = 0; row < rows; ++row)
    if (index[row] >= 0) ++images[static_cast<std::size_t>(index[row])];
  Groups groups;
  for (std::size_t value = 0; value < images.size(); ++value) {
    if (images[value] == 0) continue;
    place[value] = std::ssize(groups.values);
    groups.values.push_back(static_cast<std::int32_t>(value));
    groups.images.push_back(images[value]);
  }
  for (std::int64_t row = 0; row < rows; ++row)
    groups.of_row.push_back(index[row] < 0 ? -1 : place[static_cast<std::size_t>(index[row])]);
  return groups;
}

/// The name that all rows of a group have, or none.
Table::Names common_names(const Table::Names& names, const Groups& groups) {
  constexpr std::int32_t kNone = -1, kNotSeen = -2;
  at::Tensor common = at::full({std::ssize(groups.values)}, kNotSeen, at::kInt);
  auto* out = common.mutable_data_ptr<std::int32_t>();
  const auto* index = names.index.const_data_ptr<std::int32_t>();
  for (std::size_t row = 0; row < groups.of_row.size(); ++row) {
    if (groups.of_row[row] < 0) continue;
    std::int32_t& name = out[groups.of_row[row]];
    name = name == kNotSeen || name == index[row] ? index[row] : kNone;
  }
  return {common, names.names};
}

at::Tensor means_of(const at::Tensor& values, const Groups& groups) {
  const std::int64_t width = values.size(1);
  at::Tensor sums = at::zeros({std::ssize(groups.values), width}, at::kDouble);
  auto* sum = sums.mutable_data_ptr<double>();
  const float* value = values.const_data_ptr<float>();
  for (const std::int64_t group : groups.of_row) {
    for (std::int64_t i = 0; i < width && group >= 0; ++i)
      sum[group * width + i] += static_cast<double>(value[i]);
    value += width;
  }
  return (sums / at::tensor(groups.images, at::kDouble).unsqueeze(1)).to(at::kFloat);
}

/// Nothing: it differs from row to row.
std::optional<Table::Column> of_groups(const Table::Column& column, const Groups& groups) {
  if (const auto* same = std::get_if<Table::Same>(&column.content)) return Table::Column{column.name, *same};
  if (const auto* names = std::get_if<Table::Names>(&column.content))
    return Table::Column{column.name, common_names(*names, groups)};
  if (const auto* values = std::get_if<Table::Values>(&column.content))
    return Table::Column{column.name,
                         Table::Values{means_of(values->values, groups), values->names, values->is_vector}};
  return std::nullopt;
}

}  // namespace

void refuse_key(const std::string& key, const std::vector<std::string>& known) {
  throw UsageError({fmt::format("the table has no column '{}' to take means by", key), "--mean-by",
                    did_you_mean(key, known)});
}

Table mean_by(const Table& table, const std::string& key) {
  const Table::Names& names = names_of(table, key);
  const Groups groups = groups_by(names, table.rows);
  Table means;
  means.rows = std::ssize(groups.values);
  means.columns = {{key, Table::Names{at::tensor(groups.values, at::kInt), names.names}},
                   {"images", Table::Counts{at::tensor(groups.images, at::kLong)}}};
  for (const Table::Column& column : table.columns) {
    if (column.name == key) continue;
    if (auto mean = of_groups(column, groups)) means.columns.push_back(std::move(*mean));
  }
  return means;
}

}  // namespace cohort::jobs
