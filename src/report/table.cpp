#include <algorithm>

#include "cohort/report/report.h"

#include "scores.h"
#include "text_table.h"

namespace cohort::report {
namespace {

using Texts = std::vector<std::string>;

/// Two heading lines: "balanced accuracy" stands as "balanced" above "accuracy".
std::vector<Texts> heading() {
  return {{"split", "run", "images", "accuracy", "balanced", "AUC", "majority", "worst", "images/s"},
          {"", "", "", "", "accuracy", "", "class", "context", "all ranks"}};
}

std::string scored_table(std::span<const Run> runs, std::optional<std::size_t> columns) {
  const std::vector<ScoreRow> rows = score_rows(runs);
  if (rows.empty()) return "";
  std::vector<Texts> lines = heading();
  for (const ScoreRow& row : rows) {
    Texts& cells = lines.emplace_back(Texts{row.split, runs[row.run].name});
    // A space where others have a star keeps the digits below each other.
    for (const Cell& cell : row.cells) cells.push_back(cell.text + (cell.best ? "*" : " "));
  }
  std::vector<std::size_t> sections;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i == 0 || rows[i].split != rows[i - 1].split) sections.push_back(i + 2);
  }
  const std::string text = text_table(lines, sections, columns);
  const bool has_best = std::any_of(rows.begin(), rows.end(), [](const ScoreRow& row) {
    return std::any_of(row.cells.begin(), row.cells.end(), [](const Cell& cell) { return cell.best; });
  });
  return has_best ? text + "* best of the split\n" : text;
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
  return scored_table(runs, columns) + unscored_table(runs, columns);
}

}  // namespace cohort::report
