#include "cohort/eval/table.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>

#include "eval/column_file.h"

namespace cohort::eval {
namespace {

constexpr std::int64_t kBlockRows = 4096;

bool is_text(const Table::Column& column) {
  return !std::holds_alternative<Table::Counts>(column.content) &&
         !std::holds_alternative<Table::Values>(column.content);
}

/// Of Counts or Values.
const at::Tensor& numbers_of(const Table::Column& column) {
  if (const auto* counts = std::get_if<Table::Counts>(&column.content)) return counts->values;
  return std::get<Table::Values>(column.content).values;
}

/// Bytes of the longest text of each column, 1 at least.
std::vector<std::size_t> text_widths(std::span<const TableBlocks> tables) {
  std::vector<std::size_t> widths;
  const auto measure = [&](const Table& table) {
    widths.resize(table.columns.size(), 1);
    for (std::size_t c = 0; c < widths.size(); ++c)
      for (std::int64_t row = 0; is_text(table.columns[c]) && row < table.rows; ++row)
        widths[c] = std::max(widths[c], text_in(table.columns[c], row).size());
  };
  for (const TableBlocks& blocks : tables) for_each_block(blocks, kBlockRows, measure);
  return widths;
}

Table narrowed(const Table& table, std::int64_t first, std::int64_t count) {
  Table part = table;
  part.rows = count;
  for (Table::Column& column : part.columns) {
    if (auto* texts = std::get_if<Table::Texts>(&column.content))
      texts->values = texts->values.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
    if (auto* names = std::get_if<Table::Names>(&column.content))
      names->index = names->index.narrow(0, first, count);
    if (auto* counts = std::get_if<Table::Counts>(&column.content))
      counts->values = counts->values.narrow(0, first, count);
    if (auto* values = std::get_if<Table::Values>(&column.content))
      values->values = values->values.narrow(0, first, count);
  }
  return part;
}

/// Texts one after the other, each padded with zeros.
std::string padded(const Table::Column& column, std::int64_t rows, std::size_t width) {
  std::string all(width * static_cast<std::size_t>(rows), '\0');
  for (std::int64_t row = 0; row < rows; ++row)
    text_in(column, row).copy(all.data() + static_cast<std::size_t>(row) * width, width);
  return all;
}

}  // namespace

TableBlocks blocks_of(Table table) {
  const std::int64_t rows = table.rows;
  return {rows, [table = std::move(table)](std::int64_t first, std::int64_t count) {
            return narrowed(table, first, count);
          }};
}

void for_each_block(const TableBlocks& blocks, std::int64_t most,
                    const std::function<void(const Table& table)>& use) {
  for (std::int64_t first = 0; first < blocks.rows; first += most)
    use(blocks.block(first, std::min(most, blocks.rows - first)));
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
                      std::span<const TableBlocks> tables) {
  std::error_code ignored;
  std::filesystem::remove(marks_beside(file.string() + ".partial"), ignored);  // of features of this name
  ColumnFile made(file);
  std::int64_t rows = 0;
  for (const TableBlocks& table : tables) rows += table.rows;
  const Table first = tables.front().block(0, std::min(kBlockRows, tables.front().rows));
  const std::vector<std::size_t> widths = text_widths(tables);
  std::vector<ColumnFile::Place> places;
  for (std::size_t c = 0; c < first.columns.size(); ++c) {
    const Table::Column& column = first.columns[c];
    if (is_text(column)) {
      places.push_back(made.reserve_texts(made.root(), column.name, rows, widths[c]));
      continue;
    }
    places.push_back(made.reserve_values(made.root(), column.name, numbers_of(column), rows));
    const auto* values = std::get_if<Table::Values>(&column.content);
    if (values == nullptr || values->is_vector) continue;
    made.add_texts(
        made.root(), column.name + "_columns", std::ssize(values->names),
        [values](std::int64_t i) { return std::string_view(values->names[static_cast<std::size_t>(i)]); });
  }
  made.add_attributes(attributes);
  made.write();
  const auto append = [&](const Table& table) {
    for (std::size_t c = 0; c < places.size(); ++c) {
      if (!is_text(table.columns[c])) {
        made.append(places[c], numbers_of(table.columns[c]));
        continue;
      }
      const std::string texts = padded(table.columns[c], table.rows, widths[c]);
      made.append(places[c], std::as_bytes(std::span(texts)));
    }
  };
  for (const TableBlocks& blocks : tables) for_each_block(blocks, kBlockRows, append);
  made.commit();
}

}  // namespace cohort::eval
