#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "cohort/core/text.h"

#include "scores.h"
#include "svg.h"

namespace cohort::report {
namespace {

constexpr double kBarsWidth = 560.0, kBarsLeft = 178.0, kBarsRight = kBarsWidth - 112.0, kBarsTop = 40.0;
constexpr double kBar = 12.0, kGap = 8.0;

/// A context of each run; null where a run does not have it.
struct Row {
  std::string name;
  std::int64_t images = 0;
  std::vector<const Group*> of_run;
};

/// What bars show: a split by a key.
struct Bars {
  std::span<const Run> runs;
  const Split& split;
  const std::string& key;
  std::vector<double> marks;  ///< of the axis, from the first to the last

  [[nodiscard]] double px(double value) const {
    const double part = (value - marks.front()) / (marks.back() - marks.front());
    return kBarsLeft + std::clamp(part, 0.0, 1.0) * (kBarsRight - kBarsLeft);
  }
};

const Contexts* contexts_by(const Evaluation* evaluation, const std::string& key) {
  if (evaluation == nullptr) return nullptr;
  const auto found = std::find_if(evaluation->contexts.begin(), evaluation->contexts.end(),
                                  [&](const Contexts& contexts) { return contexts.key == key; });
  return found == evaluation->contexts.end() ? nullptr : &*found;
}

std::vector<Row> rows_of(std::span<const Run> runs, const Split& split, const std::string& key) {
  std::vector<Row> rows;
  std::map<std::string, std::size_t> index;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Contexts* contexts = contexts_by(runs[i].last(split), key);
    if (contexts == nullptr) continue;
    for (const Group& group : contexts->groups) {
      const auto [at, is_new] = index.emplace(group.name, rows.size());
      if (is_new) rows.push_back({group.name, group.samples, std::vector<const Group*>(runs.size())});
      rows[at->second].of_run[i] = &group;
    }
  }
  return rows;
}

/// Of the first run that has the context.
const Score& first_score(const Row& row) {
  const auto has_it = [](const Group* group) { return group != nullptr; };
  return (*std::find_if(row.of_run.begin(), row.of_run.end(), has_it))->scores.front();
}

/// From 0 to 1 where scores are fractions, else as far as they go.
std::vector<double> scale_of(const std::vector<Row>& rows) {
  double low = 0.0, high = 1.0;
  bool is_fraction = true;
  for (const Row& row : rows) {
    for (const Group* group : row.of_run) {
      if (group == nullptr) continue;
      const Score& score = group->scores.front();
      low = std::min(low, score.value);
      high = std::max(high, score.value);
      is_fraction = is_fraction && score.unit.empty();
    }
  }
  is_fraction = is_fraction && low >= 0.0 && high <= 1.0;
  if (is_fraction) return {0.0, 0.2, 0.4, 0.6, 0.8, 1.0};
  constexpr double kLargest = 1e300;  // the difference of two values stays finite
  return nice_ticks(std::max(low, -kLargest), std::min(high, kLargest), 5);
}

std::string shortened(const std::string& name) {
  constexpr std::size_t kMost = 17;
  std::size_t characters = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if ((name[i] & 0xC0) != 0x80 && ++characters == kMost) return name.substr(0, i) + "…";
  }
  return name;
}

std::string whisker_svg(const Bars& bars, const Range& range, double middle) {
  return fmt::format(
      "<path class=\"whisker\" d=\"M{0:.1f} {1:.1f}H{2:.1f}M{0:.1f} {3:.1f}v5M{2:.1f} {3:.1f}v5\"/>",
      bars.px(range.low), middle, bars.px(range.high), middle - 2.5);
}

std::string bar_svg(const Bars& bars, const Group& group, std::size_t run, double y, bool is_worst) {
  const Score& score = group.scores.front();
  const double middle = y + kBar / 2, zero = bars.px(0.0), end = bars.px(score.value);
  const std::string range = shown_range(score);
  std::string svg =
      fmt::format("<g class=\"c{}\"><title>{}: {}, {}{}, {} images</title>", run % 8,
                  escaped(bars.runs[run].name), escaped(group.name), shown_value(score),
                  range.empty() ? "" : " (95 % interval " + range + ")", format_count(group.samples));
  svg +=
      fmt::format("<rect class=\"bar\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\" rx=\"2\"/>",
                  std::min(zero, end), y, std::max(1.0, std::abs(end - zero)), kBar);
  if (score.range) svg += whisker_svg(bars, *score.range, middle);
  return svg + fmt::format("<text class=\"value\" x=\"{:.1f}\" y=\"{:.1f}\">{}{}</text></g>\n",
                           kBarsRight + 10, middle + 4.0, shown_value(score),
                           is_worst ? " <tspan class=\"worst\">◂ worst</tspan>" : "");
}

std::string row_svg(const Bars& bars, const Row& row, double y) {
  const double middle = y + kBar * static_cast<double>(bars.runs.size()) / 2;
  std::string svg = fmt::format(
      "<text class=\"label\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}"
      "<tspan class=\"unit\">  {}</tspan><title>{}</title></text>\n",
      kBarsLeft - 8, middle + 4, escaped(shortened(row.name)), format_count(row.images), escaped(row.name));
  for (std::size_t i = 0; i < bars.runs.size(); ++i) {
    if (row.of_run[i] == nullptr) continue;
    const Contexts* contexts = contexts_by(bars.runs[i].last(bars.split), bars.key);
    const bool is_worst = &contexts->groups.front() == row.of_run[i];
    svg += bar_svg(bars, *row.of_run[i], i, y + kBar * static_cast<double>(i), is_worst);
  }
  return svg;
}

std::string scale_svg(const Bars& bars, const Score& score, double bottom) {
  std::string svg;
  for (const double mark : bars.marks) {
    svg += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>",
                       bars.px(mark), kBarsTop - 4, bottom);
    svg +=
        fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                    bars.px(mark), bottom + 16,
                    is_percentage(score) ? fmt::format("{:.0f} %", 100 * mark) : fmt::format("{:.4g}", mark));
  }
  return svg + fmt::format(
                   "<text class=\"unit\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">context, images</text>"
                   "<text class=\"unit\" x=\"0\" y=\"12\">{}</text>\n",
                   kBarsLeft - 8, kBarsTop - 12, escaped(shown_title(score)));
}

std::string majority_svg(const Bars& bars, double majority, double bottom) {
  if (std::isnan(majority)) return "";
  return fmt::format(
      "<line class=\"majority\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>"
      "<text class=\"unit\" x=\"{0:.1f}\" y=\"{3:.1f}\" text-anchor=\"middle\">majority class {4}</text>\n",
      bars.px(majority), kBarsTop - 8, bottom, kBarsTop - 12, percent(majority));
}

double majority_of(std::span<const Run> runs, const Split& split) {
  for (const Run& run : runs) {
    if (const Evaluation* evaluation = run.last(split)) return evaluation->majority;
  }
  return std::nan("");
}

}  // namespace

std::string context_bars(std::span<const Run> runs, const Split& split, const std::string& key,
                         std::size_t most) {
  std::vector<Row> rows = rows_of(runs, split, key);
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Row& a, const Row& b) { return is_worse(first_score(a), first_score(b)); });
  const std::size_t left_out = rows.size() - std::min(rows.size(), most);
  rows.resize(rows.size() - left_out);
  const Bars bars{runs, split, key, scale_of(rows)};
  const double step = kBar * static_cast<double>(runs.size()) + kGap;
  const double bottom = kBarsTop + step * static_cast<double>(rows.size());
  const double height = bottom + (left_out == 0 ? 24 : 44);
  std::string svg =
      fmt::format("<svg class=\"bars\" viewBox=\"0 0 {} {:.0f}\" role=\"img\">\n", kBarsWidth, height);
  svg += scale_svg(bars, first_score(rows.front()), bottom);
  for (std::size_t i = 0; i < rows.size(); ++i)
    svg += row_svg(bars, rows[i], kBarsTop + step * static_cast<double>(i));
  svg += majority_svg(bars, majority_of(runs, split), bottom);
  if (left_out > 0) {
    svg += fmt::format(
        "<text class=\"unit\" x=\"{:.1f}\" y=\"{:.1f}\">{} better contexts are not shown</text>\n", kBarsLeft,
        bottom + 36, format_count(static_cast<std::int64_t>(left_out)));
  }
  return svg + "</svg>\n";
}

}  // namespace cohort::report
