#include "page.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

#include "report/style.h"
#include "report/svg.h"
#include "table.h"

namespace cohort::perf {
namespace {

using report::escaped;

constexpr double kPageWidth = 1080, kNames = 260, kBarEnd = kPageWidth - 130, kBarHeight = 14, kBarStep = 22;

std::optional<double> number_of(const Cell& cell) {
  if (const auto* count = std::get_if<std::int64_t>(&cell)) return static_cast<double>(*count);
  if (const auto* value = std::get_if<double>(&cell)) return *value;
  return std::nullopt;
}

std::size_t index_of(const std::vector<Column>& columns, const std::string& name) {
  const auto found =
      std::find_if(columns.begin(), columns.end(), [&](const Column& column) { return column.name == name; });
  COHORT_CHECK(found != columns.end(), "no column '{}'", name);
  return static_cast<std::size_t>(found - columns.begin());
}

using Lines = std::vector<std::vector<Cell>>;

/// The keys of a line but `without`: "all_reduce f32".
std::string name_of(const std::vector<Cell>& line, const std::vector<Column>& columns,
                    const std::string& without) {
  std::vector<std::string> words;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].role == Role::key && columns[i].name != without)
      words.push_back(cell_text(line[i], columns[i]));
  }
  return join(words, " ");
}

std::string plain_number(double value) {
  return value == std::round(value) && std::abs(value) < 1e15 ? format_count(std::llround(value))
                                                              : fmt::format("{:.4g}", value);
}

/// Sizes in bytes read better as such.
std::vector<report::Mark> marks_of(const std::set<double>& places, const Plot& plot, const Column& column) {
  std::vector<report::Mark> marks;
  for (const double x : places) {
    const std::string text =
        column.unit == "B" ? format_bytes(static_cast<std::uint64_t>(x)) : plain_number(x);
    marks.push_back({plot.logarithmic ? std::log2(x) : x, text});
  }
  return marks;
}

std::string curves(const Plot& plot, const std::vector<Column>& columns, const Lines& lines) {
  const std::size_t x = index_of(columns, plot.x);
  std::set<double> places;
  std::map<std::string, report::Curve> by_name;
  std::vector<std::string> order;
  for (const std::string& y : plot.y) {
    for (const auto& line : lines) {
      const auto across = number_of(line[x]), value = number_of(line[index_of(columns, y)]);
      if (!across || !value || !std::isfinite(*value)) continue;
      std::string name = name_of(line, columns, plot.x);
      if (plot.y.size() > 1 || name.empty()) name += (name.empty() ? "" : " ") + y;
      const auto [at, is_new] = by_name.try_emplace(name, report::Curve{name, order.size(), {}, false});
      if (is_new) order.push_back(name);
      at->second.points.emplace_back(plot.logarithmic ? std::log2(*across) : *across, *value);
      places.insert(*across);
    }
  }
  if (order.empty()) return "";
  std::vector<report::Curve> all;
  std::string legend = "<div class=\"legend\">";
  for (const std::string& name : order) {
    all.push_back(by_name.at(name));
    legend += fmt::format("<span class=\"entry\"><i class=\"swatch c{}\"></i>{}</span>",
                          all.back().colour % 8, escaped(name));
  }
  const Column& first = columns[index_of(columns, plot.y.front())];
  const report::Axis axis{plot.title.empty() ? first.name : plot.title,
                          first.unit,
                          plot.from_zero,
                          false,
                          columns[x].name,
                          marks_of(places, plot, columns[x])};
  return "<section class=\"card\">" + report::line_chart(axis, all) + legend + "</div></section>\n";
}

std::string bar(const std::string& name, double value, double noise, double largest, double y,
                const std::string& text) {
  const auto px = [&](double of) { return kNames + of / largest * (kBarEnd - kNames); };
  const double middle = y + kBarHeight / 2;
  std::string svg =
      fmt::format("<text class=\"label\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>", kNames - 8,
                  middle + 4, escaped(name));
  svg += fmt::format(
      "<g class=\"c0\"><rect class=\"bar\" x=\"{}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\" rx=\"2\"/>",
      kNames, y, std::max(1.0, px(value) - kNames), kBarHeight);
  if (noise > 0) {
    svg += fmt::format("<path class=\"whisker\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>", px(value * (1 - noise / 2)),
                       middle, px(std::min(value * (1 + noise / 2), largest)));
  }
  return svg + fmt::format("<text class=\"value\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text></g>\n", kBarEnd + 10,
                           middle + 4, escaped(text));
}

std::string bars(const Plot& plot, const std::vector<Column>& columns, const Lines& lines) {
  const std::size_t y = index_of(columns, plot.y.front());
  const auto noise_column = std::find_if(columns.begin(), columns.end(),
                                         [](const Column& column) { return column.name == "noise"; });
  double largest = 0;
  for (const auto& line : lines) largest = std::max(largest, number_of(line[y]).value_or(0));
  if (largest <= 0) return "";
  std::string body;
  double at = 40;
  for (const auto& line : lines) {
    const auto value = number_of(line[y]);
    if (!value || !std::isfinite(*value)) continue;
    double noise = 0;
    if (noise_column != columns.end())
      noise = number_of(line[static_cast<std::size_t>(noise_column - columns.begin())]).value_or(0) / 100;
    body += bar(name_of(line, columns, ""), *value, noise, largest, at, cell_text(line[y], columns[y]));
    at += kBarStep;
  }
  return fmt::format(
      "<section class=\"card\"><svg class=\"bars\" viewBox=\"0 0 {} {:.0f}\" role=\"img\">\n<text "
      "class=\"title\" x=\"0\" y=\"16\">{}<tspan class=\"unit\">  {}</tspan></text>\n{}</svg></section>\n",
      kPageWidth, at + 6, escaped(plot.title.empty() ? columns[y].name : plot.title),
      escaped(columns[y].unit), body);
}

std::string html_table(const std::vector<Column>& columns, const Lines& lines) {
  std::string html = "<section class=\"card\"><table><thead><tr>";
  for (const Column& column : columns) {
    html += fmt::format("<th>{}{}</th>", escaped(column.name),
                        column.unit.empty() ? "" : fmt::format(" ({})", escaped(column.unit)));
  }
  html += "</tr></thead><tbody>\n";
  for (const auto& line : lines) {
    html += "<tr>";
    for (std::size_t i = 0; i < line.size(); ++i)
      html += fmt::format("<td>{}</td>", escaped(cell_text(line[i], columns[i])));
    html += "</tr>\n";
  }
  return html + "</tbody></table></section>\n";
}

std::string facts_html(const Json& facts) {
  std::string html = "<div class=\"tiles\"><div class=\"tile\"><dl>";
  for (const auto& [name, value] : facts.items()) {
    if (name == "command") continue;
    html += fmt::format("<dt>{}</dt><dd>{}</dd>", escaped(name),
                        escaped(value.is_string() ? value.get<std::string>() : value.dump()));
  }
  return html +
         fmt::format("</dl><pre>{}</pre></div></div>\n", escaped(facts.at("command").get<std::string>()));
}

}  // namespace

std::string page_of(const Results& results) {
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\"/>\n<title>cohort-perf "
      "{0}</title>\n<style>{1}</style>\n</head>\n<body>\n<main>\n<h1>cohort-perf {0}</h1>\n",
      escaped(results.benchmark_), report::style_sheet());
  html += facts_html(results.facts_);
  for (const Table& table : results.tables_) {
    html += fmt::format("<h2>{}</h2>\n", escaped(table.name_));
    for (const std::string& note : table.notes_) html += fmt::format("<p>{}</p>\n", escaped(note));
    for (const Plot& plot : table.plots_)
      html += plot.x.empty() ? bars(plot, table.columns_, table.lines_)
                             : curves(plot, table.columns_, table.lines_);
    html += html_table(table.columns_, table.lines_);
  }
  for (const std::string& svg : results.pictures_) html += "<section class=\"card\">" + svg + "</section>\n";
  for (const std::string& remark : results.remarks_) html += fmt::format("<p>{}</p>\n", escaped(remark));
  return html + "</main>\n</body>\n</html>\n";
}

}  // namespace cohort::perf
