#include <algorithm>

#include "cohort/report/report.h"

#include "scores.h"

namespace cohort::report {
namespace {

using Texts = std::vector<std::string>;

std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::vector<std::size_t> widths_of(const std::vector<Texts>& lines) {
  std::vector<std::size_t> widths(lines.front().size());
  for (const Texts& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], width_of(line[i]));
  }
  return widths;
}

std::string repeated(const std::string& text, std::size_t count) {
  std::string result;
  for (std::size_t i = 0; i < count; ++i) result += text;
  return result;
}

std::string rule(const std::vector<std::size_t>& widths, const std::string& left, const std::string& middle,
                 const std::string& right) {
  std::string line = left;
  for (const std::size_t& width : widths)
    line += repeated("─", width + 2) + (&width == &widths.back() ? right : middle);
  return line + "\n";
}

/// Split and run to the left, values to the right.
std::string text_line(const Texts& cells, const std::vector<std::size_t>& widths) {
  std::string line = "│";
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const std::string space = repeated(" ", widths[i] - width_of(cells[i]));
    line += i < 2 ? " " + cells[i] + space : " " + space + cells[i];
    line += " │";
  }
  return line + "\n";
}

/// Two heading lines: "balanced accuracy" stands as "balanced" above "accuracy".
std::vector<Texts> heading() {
  return {{"split", "run", "images", "accuracy", "balanced", "AUC", "majority", "worst", "images/s"},
          {"", "", "", "", "accuracy", "", "class", "context", "all ranks"}};
}

}  // namespace

std::string table(std::span<const std::filesystem::path> folders) {
  const std::vector<Run> runs = read_runs(folders);
  const std::vector<ScoreRow> rows = score_rows(runs);
  std::vector<Texts> lines = heading();
  for (const ScoreRow& row : rows) {
    Texts& cells = lines.emplace_back(Texts{row.split, runs[row.run].name});
    // A space where others have a star keeps the digits below each other.
    for (const Cell& cell : row.cells) cells.push_back(cell.text + (cell.best ? "*" : " "));
  }
  const std::vector<std::size_t> widths = widths_of(lines);
  std::string text = rule(widths, "┌", "┬", "┐") + text_line(lines[0], widths) + text_line(lines[1], widths);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i == 0 || rows[i].split != rows[i - 1].split) text += rule(widths, "├", "┼", "┤");
    text += text_line(lines[i + 2], widths);
  }
  text += rule(widths, "└", "┴", "┘");
  const bool has_best = std::any_of(rows.begin(), rows.end(), [](const ScoreRow& row) {
    return std::any_of(row.cells.begin(), row.cells.end(), [](const Cell& cell) { return cell.best; });
  });
  return has_best ? text + "* best of the split\n" : text;
}

}  // namespace cohort::report
