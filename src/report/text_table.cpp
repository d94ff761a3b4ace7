#include "text_table.h"

#include <algorithm>
#include <numeric>

#include "cohort/core/printable.h"

namespace cohort::report {
namespace {

using Texts = std::vector<std::string>;

constexpr std::size_t kMostColumns = 100;  // a path fits

std::vector<std::size_t> widths_of(const std::vector<Texts>& lines) {
  std::vector<std::size_t> widths(lines.front().size());
  for (const Texts& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], display_width(line[i]));
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
    line += " " + (i < 2 ? left_aligned(cells[i], widths[i]) : right_aligned(cells[i], widths[i])) + " │";
  }
  return line + "\n";
}

constexpr std::size_t kFewest = 3;  // columns that stay

std::size_t columns_of(const std::vector<std::size_t>& widths) {
  return std::accumulate(widths.begin(), widths.end(), 1 + 3 * widths.size());
}

/// Takes columns away from the right until the table fits; their headings, or an empty text.
std::string fit(std::vector<Texts>& lines, std::size_t columns) {
  std::vector<std::size_t> widths = widths_of(lines);
  std::string gone;
  while (widths.size() > kFewest && columns_of(widths) > columns) {
    const std::string below = lines[1].back().empty() ? "" : " " + lines[1].back();
    gone = lines[0].back() + below + (gone.empty() ? "" : ", ") + gone;
    widths.pop_back();
    for (Texts& line : lines) line.pop_back();
  }
  return gone;
}

}  // namespace

std::string text_table(std::vector<Texts> lines, const std::vector<std::size_t>& sections,
                       std::optional<std::size_t> columns) {
  for (Texts& line : lines) {
    for (std::string& cell : line) cell = printable_name(cell, kMostColumns);
  }
  const std::string gone = columns ? fit(lines, *columns) : "";
  const std::vector<std::size_t> widths = widths_of(lines);
  std::string text = rule(widths, "┌", "┬", "┐");
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (std::find(sections.begin(), sections.end(), i) != sections.end()) text += rule(widths, "├", "┼", "┤");
    text += text_line(lines[i], widths);
  }
  text += rule(widths, "└", "┴", "┘");
  return gone.empty() ? text : text + "for a wider terminal, or a file: " + gone + "\n";
}

}  // namespace cohort::report
