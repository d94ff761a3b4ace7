#include "table_file.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"

#include "data_prep/table.h"
#include "support/json.h"

namespace cohort::jobs {
namespace {

using eval::Table;

constexpr std::int64_t kBlockRows = 4096;

/// Lines of text, collected and written in pieces.
class LineFile {
 public:
  LineFile(const std::filesystem::path& file, char separator, bool quotes_formulas)
      : file_(file), separator_(separator), quotes_formulas_(quotes_formulas) {}

  void add_text(std::string_view text) {
    separate();
    if (text.empty()) return;
    std::string cell(text);
    if (data_prep::is_formula(cell)) {
      ++formulas;
      if (quotes_formulas_) cell.insert(cell.begin(), '\'');
    }
    text_ += data_prep::quoted_cell(cell);
  }
  /// A number: the shortest text that reads back as the same.
  template <class Number>
  void add_number(Number value) {
    separate();
    fmt::format_to(std::back_inserter(text_), "{}", value);
  }
  void end_line() {
    constexpr std::size_t kPiece = std::size_t{1} << 20;
    text_ += '\n';
    is_first_ = true;
    if (text_.size() >= kPiece) flush();
  }
  void commit() {
    flush();
    file_.commit();
  }
  std::int64_t formulas = 0;  ///< texts that a spreadsheet computes

 private:
  void separate() {
    if (!is_first_) text_ += separator_;
    is_first_ = false;
  }
  void flush() {
    file_.write(std::as_bytes(std::span(text_)));
    text_.clear();
  }

  AtomicFile file_;
  char separator_;
  bool quotes_formulas_, is_first_ = true;
  std::string text_;
};

void add_header(LineFile& lines, const Table& table) {
  for (const Table::Column& column : table.columns) {
    const auto* values = std::get_if<Table::Values>(&column.content);
    if (values == nullptr) {
      lines.add_text(column.name);
      continue;
    }
    for (std::int64_t i = 0; i < values->values.size(1); ++i)
      lines.add_text(values->is_vector ? fmt::format("{}_{:04}", column.name, i)
                                       : values->names[static_cast<std::size_t>(i)]);
  }
  lines.end_line();
}

void add_cells(LineFile& lines, const Table::Column& column, std::int64_t row) {
  if (const auto* counts = std::get_if<Table::Counts>(&column.content))
    return lines.add_number(counts->values.const_data_ptr<std::int64_t>()[row]);
  const auto* values = std::get_if<Table::Values>(&column.content);
  if (values == nullptr) return lines.add_text(text_in(column, row));
  const std::int64_t width = values->values.size(1);
  const float* const numbers = values->values.const_data_ptr<float>() + row * width;
  for (std::int64_t i = 0; i < width; ++i) lines.add_number(numbers[i]);
}

std::filesystem::path attribute_file(const std::filesystem::path& file) {
  return file.string() + ".json";
}

void write_lines(const std::filesystem::path& file, std::span<const eval::TableBlocks> tables, char separator,
                 bool quotes_formulas) {
  LineFile lines(file, separator, quotes_formulas);
  add_header(lines, tables.front().block(0, std::min<std::int64_t>(1, tables.front().rows)));
  const auto add = [&lines](const Table& table) {
    for (std::int64_t row = 0; row < table.rows; ++row) {
      for (const Table::Column& column : table.columns) add_cells(lines, column, row);
      lines.end_line();
    }
  };
  for (const eval::TableBlocks& table : tables) eval::for_each_block(table, kBlockRows, add);
  std::filesystem::remove(attribute_file(file));  // it speaks of another table
  lines.commit();
  if (lines.formulas == 0 || quotes_formulas) return;
  log_warning(
      fmt::format("{} cells of {} begin with = + - or @, which spreadsheets compute: --quote-formulas "
                  "writes ' before them",
                  format_count(lines.formulas), file.string()));
}

void write_attributes(const std::filesystem::path& file, const eval::TableAttributes& attributes) {
  Json json = Json::object();
  for (const auto& [name, value] : attributes)
    std::visit([&json, &name = name](const auto& plain) { json[name] = plain; }, value);
  write_file_atomically(file, json.dump(2) + "\n");
}

}  // namespace

TableFormat table_format(const std::filesystem::path& file) {
  const std::vector<std::string> endings{".csv", ".tsv", ".parquet", ".h5", ".hdf5"};
  constexpr TableFormat kFormats[] = {TableFormat::csv, TableFormat::tsv, TableFormat::parquet,
                                      TableFormat::hdf5, TableFormat::hdf5};
  const std::string ending = in_small_letters(file.extension().string());
  const auto found = std::find(endings.begin(), endings.end(), ending);
  if (found == endings.end()) {
    throw UsageError({fmt::format("'{}' is no ending of a table", ending), file.string(),
                      ending.empty() ? "endings: " + join(endings, ", ") : did_you_mean(ending, endings)});
  }
  const TableFormat format = kFormats[found - endings.begin()];
#ifndef COHORT_PARQUET
  if (format == TableFormat::parquet)
    throw UsageError({"this build writes no Parquet tables", file.string(),
                      "configure with -DCOHORT_PARQUET=ON, or write .csv or .h5"});
#endif
  return format;
}

std::vector<std::filesystem::path> files_of_table(const std::filesystem::path& file) {
  const TableFormat format = table_format(file);
  if (format == TableFormat::csv || format == TableFormat::tsv) return {file, attribute_file(file)};
  return {file};
}

void write_table(const std::filesystem::path& file, const eval::TableAttributes& attributes,
                 std::span<const eval::TableBlocks> tables, bool quotes_formulas) {
  const TableFormat format = table_format(file);
  if (format == TableFormat::parquet) return write_parquet(file, attributes, tables);
  if (format == TableFormat::hdf5) return write_table_hdf5(file, attributes, tables);
  write_lines(file, tables, format == TableFormat::csv ? ',' : '\t', quotes_formulas);
  write_attributes(attribute_file(file), attributes);
}

}  // namespace cohort::jobs
