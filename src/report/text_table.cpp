#include "text_table.h"

#include <algorithm>

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

}  // namespace

std::string text_table(const std::vector<Texts>& lines, const std::vector<std::size_t>& sections) {
  const std::vector<std::size_t> widths = widths_of(lines);
  std::string text = rule(widths, "┌", "┬", "┐");
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (std::find(sections.begin(), sections.end(), i) != sections.end()) text += rule(widths, "├", "┼", "┤");
    text += text_line(lines[i], widths);
  }
  return text + rule(widths, "└", "┴", "┘");
}

}  // namespace cohort::report
