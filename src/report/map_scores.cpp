#include "map_scores.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cohort/core/text.h"

#include "svg.h"

namespace cohort::report {
namespace {

constexpr std::size_t kMostShown = 50;  // contexts of a key, or classes

std::vector<MapScore> read_map_scores_of(const nlohmann::json& scores) {
  std::vector<MapScore> read;
  for (const auto& score : scores) {
    const auto& value = score.at("value");
    read.push_back({score.at("name").get<std::string>(),
                    value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>(),
                    score.at("better") == "higher"});
    if (score.contains("interval"))
      read.back().interval = {score["interval"].at(0).get<double>(), score["interval"].at(1).get<double>()};
  }
  return read;
}

std::vector<MapScoresOfGroup> read_map_groups(const nlohmann::json& groups) {
  std::vector<MapScoresOfGroup> read;
  for (const auto& group : groups)
    read.push_back({group.at("name").get<std::string>(), group.at("samples").get<std::int64_t>(),
                    read_map_scores_of(group.at("scores"))});
  return read;
}

MapCurve read_map_curve(const nlohmann::json& curve) {
  MapCurve read{curve.at("kind").get<std::string>(),
                curve.at("x").get<std::string>(),
                curve.at("y").get<std::string>(),
                {}};
  for (const auto& point : curve.at("points"))
    read.points.emplace_back(point.at(0).get<double>(), point.at(1).get<double>());
  return read;
}

/// "average_drop" -> "average drop".
std::string words(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

std::string header_cells(const std::vector<MapScore>& scores) {
  std::string cells = "<th>images</th>";
  for (const MapScore& score : scores)
    cells += fmt::format("<th>{}<small>{}</small></th>", escaped(words(score.name)),
                         score.higher_is_better ? "higher is better" : "lower is better");
  return cells;
}

/// The best value of score `i` that a method has; nothing to compare: NaN.
double best_of(const std::vector<MapScores>& methods, std::size_t i) {
  double best = std::numeric_limits<double>::quiet_NaN();
  for (const MapScores& method : methods) {
    if (methods.size() < 2 || i >= method.scores.size()) continue;
    const MapScore& score = method.scores[i];
    const bool is_better = score.higher_is_better ? score.value > best : score.value < best;
    if (is_better || std::isnan(best)) best = score.value;
  }
  return best;
}

std::string value_cell(const MapScore& score, double best) {
  std::string text = std::isnan(score.value) ? "–" : fmt::format("{:.4f}", score.value);
  if (score.interval)
    text += fmt::format("<small>{:.3f} … {:.3f}</small>", (*score.interval)[0], (*score.interval)[1]);
  return fmt::format("<td{}>{}</td>", score.value == best ? " class=\"best\"" : "", text);
}

std::string method_rows(const std::vector<MapScores>& methods) {
  std::string rows;
  for (const MapScores& method : methods) {
    rows += fmt::format("<tr><td class=\"left\">{}</td><td>{}</td>", escaped(method.method),
                        format_count(method.images));
    for (std::size_t i = 0; i < method.scores.size(); ++i)
      rows += value_cell(method.scores[i], best_of(methods, i));
    rows += "</tr>\n";
  }
  return rows;
}

/// Lowest of what groups are compared by first, or highest where lower is better.
std::vector<MapScoresOfGroup> worst_first(std::vector<MapScoresOfGroup> groups) {
  std::stable_sort(groups.begin(), groups.end(), [](const MapScoresOfGroup& a, const MapScoresOfGroup& b) {
    if (a.scores.empty() || b.scores.empty()) return a.scores.size() < b.scores.size();
    const MapScore &one = a.scores.front(), &other = b.scores.front();
    if (std::isnan(one.value) || std::isnan(other.value))
      return !std::isnan(one.value) && std::isnan(other.value);
    return one.higher_is_better ? one.value < other.value : one.value > other.value;
  });
  return groups;
}

std::string groups_html(const MapScores& method, const std::string& key,
                        const std::vector<MapScoresOfGroup>& groups) {
  std::string rows;
  const std::vector<MapScoresOfGroup> ordered = worst_first(groups);
  for (std::size_t c = 0; c < std::min(kMostShown, ordered.size()); ++c) {
    rows += fmt::format("<tr><td class=\"left\">{}</td><td>{}</td>", escaped(ordered[c].name),
                        format_count(ordered[c].images));
    for (const MapScore& score : ordered[c].scores)
      rows += value_cell(score, std::numeric_limits<double>::quiet_NaN());
    rows += "</tr>\n";
  }
  if (ordered.size() > kMostShown)
    rows += fmt::format("<tr><td class=\"left\">and {} more</td></tr>\n",
                        format_count(std::ssize(ordered) - std::int64_t{kMostShown}));
  return fmt::format(
      "<details><summary>{} by {}, worst first</summary><table><thead><tr><th class=\"left\">{}</th>{}"
      "</tr></thead><tbody>\n{}</tbody></table></details>\n",
      escaped(method.method), escaped(key), escaped(key), header_cells(method.scores), rows);
}

/// A chart of the curves of one kind, one of each method.
std::string curves_chart(const std::vector<MapScores>& methods, const std::string& kind) {
  std::vector<Curve> curves;
  std::string across, of;
  for (std::size_t i = 0; i < methods.size(); ++i) {
    for (const MapCurve& curve : methods[i].curves) {
      if (curve.kind != kind) continue;
      curves.push_back({methods[i].method, i, curve.points, false});
      across = curve.across;
      of = curve.of;
    }
  }
  const std::vector<Mark> marks{{0.0, "0 %"}, {0.25, "25 %"}, {0.5, "50 %"}, {0.75, "75 %"}, {1.0, "100 %"}};
  const Axis axis{
      .title = kind, .unit = of, .from_zero = true, .is_fraction = true, .across = across, .marks = marks};
  return "<div>" + line_chart(axis, curves) + "</div>\n";
}

std::string methods_legend(const std::vector<MapScores>& methods) {
  std::string html = "<div class=\"legend\">";
  for (std::size_t i = 0; i < methods.size(); ++i)
    html += fmt::format("<span class=\"entry\"><i class=\"swatch c{}\"></i>{}</span>", i % 8,
                        escaped(methods[i].method));
  return html + "</div>\n";
}

std::string charts_html(const std::vector<MapScores>& methods) {
  if (methods.front().curves.empty()) return "";
  std::string charts;
  for (const MapCurve& curve : methods.front().curves) charts += curves_chart(methods, curve.kind);
  return methods_legend(methods) + "<div class=\"charts\">\n" + charts + "</div>\n";
}

}  // namespace

std::vector<MapScores> read_map_scores(const nlohmann::json& scores) {
  std::vector<MapScores> read;
  for (const auto& of : scores) {
    MapScores& method = read.emplace_back();
    method.method = of.at("method").get<std::string>();
    method.images = of.at("images").get<std::int64_t>();
    method.scores = read_map_scores_of(of.at("scores"));
    for (const auto& by : of.at("contexts_by"))
      method.groups.emplace_back(by.at("key").get<std::string>(), read_map_groups(by.at("contexts")));
    if (of.contains("classes")) method.groups.emplace_back("class", read_map_groups(of.at("classes")));
    for (const auto& curve : of.at("curves")) method.curves.push_back(read_map_curve(curve));
  }
  return read;
}

std::string map_scores_html(const std::vector<MapScores>& scores) {
  if (scores.empty()) return "";
  std::string html = fmt::format(
      "<section class=\"card\"><h3>What the maps are worth</h3><table><thead><tr><th class=\"left\">map</th>"
      "{}</tr></thead><tbody>\n{}</tbody></table>\n",
      header_cells(scores.front().scores), method_rows(scores));
  for (const MapScores& method : scores)
    for (const auto& [key, groups] : method.groups) html += groups_html(method, key, groups);
  if (!scores.front().scores.empty() && scores.front().scores.front().interval)
    html += "<p>Below a mean stands its 95 % interval.</p>";
  return html + "</section>\n" + charts_html(scores);
}

}  // namespace cohort::report
