#include "cohort/eval/table.h"

#include <algorithm>
#include <memory>

#include <ATen/ATen.h>

#include "eval/column_file.h"

namespace cohort::eval {
namespace {

/// Row number `row` of all tables: the table, and the row there.
class AllRows {
 public:
  explicit AllRows(std::span<const Table> tables) : tables_(tables) {
    for (const Table& table : tables) end_.push_back((end_.empty() ? 0 : end_.back()) + table.rows);
  }
  [[nodiscard]] std::int64_t size() const { return end_.back(); }
  [[nodiscard]] std::string_view text(std::size_t column, std::int64_t row) const {
    const auto table =
        static_cast<std::size_t>(std::upper_bound(end_.begin(), end_.end(), row) - end_.begin());
    const std::int64_t first = table == 0 ? 0 : end_[table - 1];
    return text_in(tables_[table].columns[column], row - first);
  }

 private:
  std::span<const Table> tables_;
  std::vector<std::int64_t> end_;
};

/// Column number `column` of every table, whose content is a Kind.
template <class Kind>
std::vector<at::Tensor> values_of(std::span<const Table> tables, std::size_t column) {
  std::vector<at::Tensor> parts;
  for (const Table& table : tables) parts.push_back(std::get<Kind>(table.columns[column].content).values);
  return parts;
}

}  // namespace

at::Tensor index_tensor(const std::vector<std::int32_t>& column) {
  // Nobody writes through it; tensors know no constant memory.
  auto* values = const_cast<std::int32_t*>(column.data());  // NOLINT
  return at::from_blob(values, {std::ssize(column)}, at::kInt);
}

std::string_view text_in(const Table::Column& column, std::int64_t row) {
  const auto at = static_cast<std::size_t>(row);
  if (const auto* same = std::get_if<Table::Same>(&column.content)) return same->text;
  if (const auto* texts = std::get_if<Table::Texts>(&column.content)) return texts->values[at];
  const auto& names = std::get<Table::Names>(column.content);
  const std::int32_t index = names.index.const_data_ptr<std::int32_t>()[at];
  return index < 0 ? std::string_view() : std::string_view(names.names[static_cast<std::size_t>(index)]);
}

void write_table_hdf5(const std::filesystem::path& file, const TableAttributes& attributes,
                      std::span<const Table> tables) {
  ColumnFile made(file);
  const AllRows rows(tables);
  for (std::size_t c = 0; c < tables.front().columns.size(); ++c) {
    const auto& [name, content] = tables.front().columns[c];
    if (std::holds_alternative<Table::Counts>(content)) {
      made.add_values(made.root(), name, values_of<Table::Counts>(tables, c));
    } else if (const auto* values = std::get_if<Table::Values>(&content)) {
      made.add_values(made.root(), name, values_of<Table::Values>(tables, c));
      if (values->is_vector) continue;
      made.add_texts(made.root(), name + "_columns", std::ssize(values->names), [values](std::int64_t i) {
        return std::string_view(values->names[static_cast<std::size_t>(i)]);
      });
    } else {
      made.add_texts(made.root(), name, rows.size(),
                     [&rows, c](std::int64_t row) { return rows.text(c, row); });
    }
  }
  made.add_attributes(attributes);
  made.commit();
}

}  // namespace cohort::eval
