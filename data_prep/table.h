#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace cohort::data_prep {

/// One line of a table, and its number in the file (from 1).
struct Line {
  std::int64_t number = 0;
  std::vector<std::string> cells;
};

/// All lines that are not empty. Cells are separated by commas or tabs if the first line has any, else by
/// blanks. Cells in double quotes may hold separators, line ends and doubled quotes (RFC 4180). Throws
/// DataError: unreadable, or an open quote.
std::vector<Line> read_lines(const std::filesystem::path& file);

/// A cell as it stands in a table with commas: in quotes if it needs them.
std::string quoted_cell(const std::string& text);

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
  /// All cells of a column. Throws as column().
  [[nodiscard]] std::vector<std::string> cells(const std::string& name, const std::string& option) const;
};

}  // namespace cohort::data_prep
