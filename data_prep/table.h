#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace cohort::data_prep {

/// One line of a table, and its number in the file (from 1).
struct Line {
  std::int64_t number = 0;
  std::vector<std::string> cells;
};

/// All lines that are not empty. Cells are separated by what the first line has most of outside of quotes:
/// commas, tabs or semicolons (the first of these where it has as many), else by blanks. Cells in double
/// quotes may hold separators, line ends and doubled quotes (RFC 4180). Lines end in LF, CR LF or CR. UTF-8,
/// and UTF-16 with a byte order mark. Throws DataError: unreadable, another encoding, or an open quote.
std::vector<Line> read_lines(const std::filesystem::path& file);

/// A cell as it stands in a table with commas: in quotes if it needs them.
std::string quoted_cell(const std::string& text);

/// Whether a spreadsheet computes what is in a cell: it begins with = + - or @ and is no number.
bool is_formula(const std::string& text);

/// A table whose first line names the columns.
struct Table {
  std::string file;
  std::vector<std::string> columns;
  std::vector<Line> lines;

  /// CSV, tabs or blanks as read_lines(), or Parquet (read_parquet()), told by the content.
  /// Throws DataError, in addition, for a line with more or fewer cells than columns and for a column named
  /// twice.
  static Table read(const std::filesystem::path& file);
  /// Index of a column. Throws UsageError naming the nearest; `option` is the option that asked for it.
  [[nodiscard]] std::size_t column(const std::string& name, const std::string& option) const;
  /// "slides.csv:12", of line number `index` of `lines`, for messages.
  [[nodiscard]] std::string place(std::size_t index) const;
  /// All cells of a column. Throws as column().
  [[nodiscard]] std::vector<std::string> cells(const std::string& name, const std::string& option) const;
};

/// The same for tables of many lines: they stay in their file and are read when they are asked for. It takes
/// half a byte a line. Tables in UTF-16 and Parquet are held as a whole. Copies are one table. From any
/// thread.
class LargeTable {
 public:
  /// Throws as Table::read().
  explicit LargeTable(const std::filesystem::path& file);
  [[nodiscard]] const std::string& file() const noexcept;
  [[nodiscard]] const std::vector<std::string>& columns() const noexcept;
  [[nodiscard]] std::int64_t rows() const noexcept;
  /// Throws as Table::column().
  [[nodiscard]] std::size_t column(const std::string& name, const std::string& option) const;
  /// That of a row, 0 … rows()-1: fast in order; it has columns().size() cells. Throws DataError, also when
  /// the file has changed.
  [[nodiscard]] Line line(std::int64_t row) const;
  /// One of them. Throws as line().
  [[nodiscard]] std::string cell(std::int64_t row, std::size_t column) const;
  /// "slides.csv:12".
  [[nodiscard]] std::string place(std::int64_t row) const;

 private:
  struct Impl;
  bool index(const std::filesystem::path& file);  // false: not of plain UTF-8
  std::shared_ptr<Impl> impl_;
};

}  // namespace cohort::data_prep
