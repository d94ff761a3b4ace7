#include "eval/scorecard_text.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <fmt/format.h>

#include "cohort/core/printable.h"
#include "cohort/core/text.h"

namespace cohort::eval {
namespace {

constexpr std::size_t kMostLines = 24;  // of classes or contexts, in a table that does not show all

Json number_json(double value) {
  return std::isfinite(value) ? Json(nine_digits(value)) : Json(nullptr);
}

Json score_json(const Score& score) {
  Json json{{"name", score.name}, {"value", number_json(score.value)}};
  if (score.interval) {
    json["low"] = number_json(score.interval->low);
    json["high"] = number_json(score.interval->high);
  }
  json["better"] = score.higher_is_better ? "higher" : "lower";
  if (!score.unit.empty()) json["unit"] = score.unit;
  return json;
}

Json group_json(const ScoredGroup& group) {
  return {{"name", group.name}, {"samples", group.samples}, {"scores", scores_json(group.scores)}};
}

template <class Value, class ToJson>
Json list_json(const std::vector<Value>& values, const ToJson& to_json) {
  Json list = Json::array();
  for (const Value& value : values) list.push_back(to_json(value));
  return list;
}

bool is_worse(const Score& a, const Score& b) {
  if (std::isnan(a.value) || std::isnan(b.value)) return !std::isnan(a.value);
  return a.higher_is_better ? a.value < b.value : a.value > b.value;
}

/// Columns of a table: names, then images, then scores.
struct Layout {
  std::size_t name;
  std::vector<std::string> headings{};  ///< of scores

  [[nodiscard]] std::size_t width_of(std::size_t score) const {
    constexpr std::size_t kNumber = 9;
    return std::max(kNumber, display_width(headings[score]));
  }
  [[nodiscard]] std::size_t width() const {
    constexpr std::size_t kImages = 10;
    std::size_t sum = name + kImages;
    for (std::size_t i = 0; i < headings.size(); ++i) sum += 2 + width_of(i);
    return sum;
  }
};

/// With as many scores as there is room for, one at least.
Layout layout_of(const std::vector<Score>& scores, std::optional<std::size_t> columns) {
  constexpr std::size_t kName = 24, kMostScores = 6;
  Layout layout{kName};
  for (std::size_t i = 0; i < std::min(kMostScores, scores.size()); ++i)
    layout.headings.push_back(scores[i].name + (scores[i].higher_is_better ? "" : " ↓"));
  while (columns && layout.headings.size() > 1 && layout.width() > *columns) layout.headings.pop_back();
  return layout;
}

/// `cells`: of the scores.
std::string line_of(const Layout& layout, const std::string& name, const std::string& images,
                    const std::vector<std::string>& cells) {
  std::string line =
      fmt::format("{} {:>9}", left_aligned(printable_name(name, layout.name), layout.name), images);
  for (std::size_t i = 0; i < cells.size(); ++i)
    line += std::string(2 + layout.width_of(i) - display_width(cells[i]), ' ') + cells[i];
  return line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
}

std::string group_line(const Layout& layout, const ScoredGroup& group, const std::vector<Score>& columns) {
  std::vector<std::string> cells;
  for (std::size_t i = 0; i < layout.headings.size(); ++i) {
    const auto found = std::find_if(group.scores.begin(), group.scores.end(),
                                    [&](const Score& score) { return score.name == columns[i].name; });
    cells.push_back(found == group.scores.end() ? "" : score_text(*found));
  }
  return line_of(layout, group.name, std::to_string(group.samples), cells);
}

/// Worst first.
std::vector<ScoredGroup> sorted(std::vector<ScoredGroup> groups) {
  std::stable_sort(groups.begin(), groups.end(), [](const ScoredGroup& a, const ScoredGroup& b) {
    return is_worse(a.scores.front(), b.scores.front());
  });
  return groups;
}

/// Of many the first and the last ones.
std::string lines_of(const Layout& layout, const std::vector<ScoredGroup>& groups,
                     const std::vector<Score>& columns, bool all) {
  std::string lines;
  const bool cuts = !all && groups.size() > kMostLines;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const bool is_shown = !cuts || i < kMostLines / 2 || i + kMostLines / 2 >= groups.size();
    if (is_shown) lines += group_line(layout, groups[i], columns);
    if (cuts && i == kMostLines / 2)
      lines += fmt::format("… {} more\n", format_count(std::ssize(groups) - std::int64_t{kMostLines}));
  }
  return lines;
}

}  // namespace

Json scores_json(const std::vector<Score>& scores) {
  return list_json(scores, score_json);
}

Json groups_json(const std::vector<ScoredGroup>& groups) {
  return list_json(groups, group_json);
}

Json contexts_json(const std::vector<ScoredContexts>& contexts) {
  return list_json(contexts, [](const ScoredContexts& of_key) {
    return Json{{"key", of_key.key}, {"contexts", groups_json(of_key.groups)}};
  });
}

Json curves_json(const std::vector<Curve>& curves) {
  return list_json(curves, [](const Curve& curve) {
    Json points = list_json(curve.points, [](const auto& point) {
      return Json{number_json(point[0]), number_json(point[1])};
    });
    return Json{{"kind", curve.kind},
                {"of", curve.of},
                {"x", curve.x},
                {"y", curve.y},
                {"points", std::move(points)}};
  });
}

Json cases_json(const std::vector<Case>& cases) {
  return list_json(cases, [](const Case& one) {
    return Json{{"row", one.row}, {"id", one.id}, {"score", number_json(one.score)}, {"what", one.what}};
  });
}

std::string score_text(const Score& score) {
  if (!std::isfinite(score.value)) return "-";
  return score.unit.empty() ? fmt::format("{:.4f}", score.value)
                            : fmt::format("{:.2f} {}", score.value, score.unit);
}

std::string scorecard_table(const std::string& title, const Scorecard& card, bool all,
                            std::optional<std::size_t> columns) {
  const Layout layout = layout_of(card.all, columns);
  std::string table = line_of(layout, title, "images", layout.headings) +
                      group_line(layout, {"all", card.samples, card.all}, card.all);
  if (const auto& interval = card.all.front().interval)
    table += fmt::format("{} between {:.4f} and {:.4f} (95 %)\n", card.all.front().name, interval->low,
                         interval->high);
  if (!card.classes.empty()) table += lines_of(layout, card.classes, card.all, all);
  if (!card.contexts.empty()) table += lines_of(layout, sorted(card.contexts.front().groups), card.all, all);
  return table;
}

}  // namespace cohort::eval
