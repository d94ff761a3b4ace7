#include <algorithm>

#include "cohort/core/printable.h"
#include "cohort/report/report.h"

#include "scores.h"
#include "text_table.h"

namespace cohort::report {
namespace {

using Texts = std::vector<std::string>;

std::string scored_table(const ScoreTable& table, std::span<const Run> runs,
                         std::optional<std::size_t> columns) {
  std::vector<Texts> lines{{"split", "run"}, {"", ""}};
  for (const std::string& title : table.columns) {
    const Heading heading = heading_of(title);
    lines[0].push_back(heading[0]);
    lines[1].push_back(heading[1]);
  }
  bool has_best = false;
  for (const ScoreRow& row : table.rows) {
    Texts& cells = lines.emplace_back(Texts{row.split, runs[row.run].name});
    // A space where others have a star keeps the digits below each other.
    for (const Cell& cell : row.cells) cells.push_back(cell.text + (cell.best ? "*" : " "));
    has_best =
        has_best || std::any_of(row.cells.begin(), row.cells.end(), [](const Cell& c) { return c.best; });
  }
  std::vector<std::size_t> sections;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    if (i == 0 || table.rows[i].split != table.rows[i - 1].split) sections.push_back(i + 2);
  }
  return text_table(lines, sections, columns) + (has_best ? "* best of the split\n" : "");
}

/// Under their names where there are several tasks.
std::string scored_tables(std::span<const Run> runs, std::optional<std::size_t> columns) {
  const std::vector<ScoreTable> tables = score_tables(runs);
  std::string text;
  for (const ScoreTable& table : tables) {
    if (tables.size() > 1) text += printable_name(table.task) + "\n";
    text += scored_table(table, runs, columns);
  }
  return text;
}

std::string unscored_table(std::span<const Run> runs, std::optional<std::size_t> columns) {
  const std::vector<UnscoredRow> rows = unscored_rows(runs);
  if (rows.empty()) return "";
  std::vector<Texts> lines{{"run"}, {""}};
  for (const auto& [first, second] : unscored_columns()) {
    lines[0].push_back(first);
    lines[1].push_back(second);
  }
  for (const UnscoredRow& row : rows) {
    Texts& cells = lines.emplace_back(Texts{runs[row.run].name});
    cells.insert(cells.end(), row.cells.begin(), row.cells.end());
  }
  return text_table(lines, {2}, columns);
}

}  // namespace

std::string table(std::span<const std::filesystem::path> folders, std::optional<std::size_t> columns) {
  const std::vector<Run> runs = read_runs(folders);
  return scored_tables(runs, columns) + unscored_table(runs, columns);
}

}  // namespace cohort::report
