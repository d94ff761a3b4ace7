#include "scorecards.h"

#include <algorithm>
#include <map>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/text.h"

#include "case_pictures.h"
#include "explanation.h"
#include "plot.h"
#include "scores.h"
#include "svg.h"

namespace cohort::report {
namespace {

constexpr std::size_t kMostRows = 64;      // of a table
constexpr std::size_t kMostDetailed = 25;  // contexts of which all scores are told
constexpr std::size_t kOfAChart = 8;       // curves, which are told apart by colour

struct Shown {
  std::size_t run;
  const Evaluation* evaluation;
};

/// The last evaluations of one split.
std::vector<Shown> shown_of(std::span<const Run> runs, const Split& split) {
  std::vector<Shown> shown;
  for (std::size_t i = 0; i < runs.size(); ++i)
    if (const Evaluation* last = runs[i].last(split)) shown.push_back({i, last});
  return shown;
}

std::string named(std::span<const Run> runs, const Shown& shown) {
  return swatch(shown.run) + escaped(runs[shown.run].name);
}

std::string note(const std::string& text) {
  return "<p>" + text + "</p>\n";
}

/// "12 more are not shown": of `all`.
std::string left_out(std::size_t all, std::size_t shown) {
  if (all <= shown) return "";
  return note(fmt::format("{} more are not shown", format_count(static_cast<std::int64_t>(all - shown))));
}

std::string group_row(const Group& group, const std::vector<Score>& columns) {
  std::string html = fmt::format("<tr><td class=\"left\">{}</td><td>{}</td>", escaped(group.name),
                                 format_count(group.samples));
  for (const Score& column : columns) {
    const auto found = std::find_if(group.scores.begin(), group.scores.end(),
                                    [&](const Score& score) { return score.name == column.name; });
    const std::string range = found == group.scores.end() ? "" : shown_range(*found);
    html += fmt::format("<td>{}{}</td>", found == group.scores.end() ? "–" : shown_value(*found),
                        range.empty() ? "" : "<small>" + range + "</small>");
  }
  return html + "</tr>\n";
}

/// The first `most` groups, with the scores of the one that has most of them.
std::string group_table(const std::vector<Group>& groups, const std::string& what, std::size_t most) {
  const auto columns = std::max_element(groups.begin(), groups.end(), [](const Group& a, const Group& b) {
                         return a.scores.size() < b.scores.size();
                       })->scores;
  std::string html =
      fmt::format("<table><thead><tr><th class=\"left\">{}</th><th>images</th>", escaped(what));
  for (const Score& column : columns) html += fmt::format("<th>{}</th>", escaped_title(shown_title(column)));
  html += "</tr></thead><tbody>\n";
  for (std::size_t i = 0; i < std::min(groups.size(), most); ++i) html += group_row(groups[i], columns);
  return html + "</tbody></table>\n" + left_out(groups.size(), most);
}

/// All keys that some run has contexts of.
std::vector<std::string> keys_of(const std::vector<Shown>& shown) {
  std::vector<std::string> keys;
  for (const Shown& one : shown) {
    for (const Contexts& contexts : one.evaluation->contexts)
      if (std::find(keys.begin(), keys.end(), contexts.key) == keys.end()) keys.push_back(contexts.key);
  }
  return keys;
}

const Contexts* contexts_of(const Evaluation& evaluation, const std::string& key) {
  const auto found = std::find_if(evaluation.contexts.begin(), evaluation.contexts.end(),
                                  [&](const Contexts& contexts) { return contexts.key == key; });
  return found == evaluation.contexts.end() ? nullptr : &*found;
}

/// All scores of the worst contexts, where there are more than the bars show.
std::string context_details(std::span<const Run> runs, const std::vector<Shown>& shown,
                            const std::string& key) {
  std::string html;
  for (const Shown& one : shown) {
    const Contexts* contexts = contexts_of(*one.evaluation, key);
    if (contexts == nullptr || contexts->groups.front().scores.size() < 2) continue;
    html += fmt::format("<details><summary>{}: all scores</summary>{}</details>\n", named(runs, one),
                        group_table(contexts->groups, key, kMostDetailed));
  }
  return html;
}

std::string split_title(const Split& split) {
  return split.task == "classification" ? split.name : split.name + ", " + split.task;
}

std::string card(const std::string& title, const std::string& below, const std::string& body) {
  return fmt::format("<section class=\"card\"><h3>{}</h3><p>{}</p>\n{}</section>\n", title, below, body);
}

std::string title_of_kind(const std::string& kind) {
  static const std::map<std::string, std::string> kTitles{{"precision_recall", "precision and recall"},
                                                          {"predicted", "predicted and true"},
                                                          {"recall_at", "recall at k"}};
  const auto found = kTitles.find(kind);
  return found == kTitles.end() ? shown_name(kind) : found->second;
}

/// Whether points are images.
bool is_scatter(const std::string& kind) {
  return kind == "predicted" || kind == "residuals";
}

/// How the curves of a kind are drawn.
Plot plot_of(const ScoredCurve& curve) {
  Plot plot{title_of_kind(curve.kind), curve.x, curve.y};
  plot.is_square = curve.kind == "roc" || curve.kind == "precision_recall" || curve.kind == "reliability";
  plot.is_scatter = is_scatter(curve.kind);
  plot.has_diagonal = curve.kind == "roc" || curve.kind == "reliability" || curve.kind == "predicted";
  plot.is_histogram = curve.kind.ends_with("histogram");
  return plot;
}

std::vector<std::string> kinds_of(const std::vector<Shown>& shown) {
  std::vector<std::string> kinds;
  for (const Shown& one : shown) {
    for (const ScoredCurve& curve : one.evaluation->curves)
      if (std::find(kinds.begin(), kinds.end(), curve.kind) == kinds.end()) kinds.push_back(curve.kind);
  }
  return kinds;
}

std::vector<const ScoredCurve*> curves_of(const Evaluation& evaluation, const std::string& kind) {
  std::vector<const ScoredCurve*> curves;
  for (const ScoredCurve& curve : evaluation.curves)
    if (curve.kind == kind && !curve.points.empty()) curves.push_back(&curve);
  return curves;
}

std::string chart_card(const Plot& drawn, std::span<const Curve> curves) {
  std::string legend;
  for (const Curve& curve : curves)
    legend += fmt::format("<span class=\"entry\">{}{}</span>", swatch(curve.colour), escaped(curve.name));
  if (curves.size() < 2 && curves.front().name.empty()) legend.clear();
  return "<div>" + plot(drawn, curves) + "<div class=\"legend\">" + legend + "</div></div>\n";
}

/// Runs in one chart.
std::string chart_of_runs(std::span<const Run> runs, const std::vector<Shown>& shown,
                          const std::string& kind) {
  std::vector<Curve> curves;
  Plot drawn;
  for (const Shown& one : shown) {
    for (const ScoredCurve* curve : curves_of(*one.evaluation, kind)) {
      if (curves.empty()) drawn = plot_of(*curve);
      const std::string name = curve->of.empty() ? "" : ", " + curve->of;
      curves.push_back({runs[one.run].name + name, one.run, curve->points});
    }
  }
  return curves.empty() ? "" : chart_card(drawn, curves);
}

/// Classes of one run, eight in a chart, measurements by themselves; `most` classes at most.
std::string charts_of_classes(std::span<const Run> runs, const Shown& one, const std::string& kind,
                              std::size_t most) {
  const std::vector<const ScoredCurve*> all = curves_of(*one.evaluation, kind);
  const std::size_t of_a_chart = is_scatter(kind) ? 1 : kOfAChart;  // measurements have units of their own
  std::string html;
  std::vector<Curve> curves;
  for (std::size_t i = 0; i < std::min(all.size(), most); ++i) {
    curves.push_back({all[i]->of.empty() ? "all" : all[i]->of, i % kOfAChart, all[i]->points});
    if (curves.size() < of_a_chart && i + 1 < std::min(all.size(), most)) continue;
    Plot drawn = plot_of(*all[i]);
    if (runs.size() > 1) drawn.title += " · " + runs[one.run].name;
    html += chart_card(drawn, curves);
    curves.clear();
  }
  return html;
}

std::string charts_of_kind(std::span<const Run> runs, const std::vector<Shown>& shown,
                           const std::string& kind) {
  const bool has_classes = std::any_of(shown.begin(), shown.end(), [&](const Shown& one) {
    return curves_of(*one.evaluation, kind).size() > 1;
  });
  if (!has_classes) return chart_of_runs(runs, shown, kind);
  std::string html;
  for (const Shown& one : shown)
    html += charts_of_classes(runs, one, kind, runs.size() > 1 ? kOfAChart : 2 * kOfAChart);
  return html;
}

std::string case_name(const Case& one) {
  return one.id.empty() ? "row " + format_count(one.row) : escaped(one.id);
}

std::string case_figure(const Case& one) {
  const std::string picture = one.picture.empty()
                                  ? ""
                                  : fmt::format("<img alt=\"{}\" src=\"data:image/jpeg;base64,{}\"/>",
                                                case_name(one), base64(one.picture));
  return fmt::format("<figure>{}<figcaption>{}<br/>{}</figcaption></figure>\n", picture, case_name(one),
                     escaped(one.what));
}

std::string case_gallery(const std::vector<Case>& cases) {
  std::string html = "<div class=\"gallery\">\n";
  for (std::size_t i = 0; i < std::min(cases.size(), kMostCases); ++i) html += case_figure(cases[i]);
  return html + "</div>\n" + left_out(cases.size(), kMostCases);
}

std::string case_table(const std::vector<Case>& cases) {
  std::string html =
      "<table><thead><tr><th class=\"left\">image</th><th "
      "class=\"left\">what</th><th>by</th></tr></thead><tbody>\n";
  for (std::size_t i = 0; i < std::min(cases.size(), kMostCases); ++i)
    html +=
        fmt::format("<tr><td class=\"left\">{}</td><td class=\"left wraps\">{}</td><td>{:.4g}</td></tr>\n",
                    case_name(cases[i]), escaped(cases[i].what), cases[i].score);
  return html + "</tbody></table>\n" + left_out(cases.size(), kMostCases);
}

/// A card for each run and split of which `body(evaluation)` is not empty, below a heading.
template <class Body>
std::string cards(std::span<const Run> runs, const std::string& heading, const Body& body) {
  std::string html;
  for (const Split& split : splits_of(runs)) {
    for (const Shown& one : shown_of(runs, split)) {
      const std::string inner = body(*one.evaluation);
      if (!inner.empty()) html += card(named(runs, one), escaped(split_title(split)), inner);
    }
  }
  return html.empty() ? "" : "<h2>" + heading + "</h2>\n" + html;
}

}  // namespace

std::string context_sections(std::span<const Run> runs) {
  std::string html;
  for (const Split& split : splits_of(runs)) {
    const std::vector<Shown> shown = shown_of(runs, split);
    for (const std::string& key : keys_of(shown)) {
      const bool is_first = key == keys_of(shown).front();
      html += card(escaped(split_title(split)), "by " + escaped(key),
                   context_bars(runs, split, key, is_first ? kMostContexts : kMostContexts / 4) +
                       context_details(runs, shown, key));
    }
  }
  if (html.empty()) return "";
  return "<h2>By context</h2>\n<p>With 95 % intervals; the worst context of the first run on top.</p>\n" +
         legend(runs) + "<div class=\"charts\">\n" + html + "</div>\n";
}

std::string class_sections(std::span<const Run> runs) {
  return cards(runs, "By class", [](const Evaluation& evaluation) {
    return evaluation.classes.empty() ? "" : group_table(evaluation.classes, "class", kMostRows);
  });
}

std::string curve_sections(std::span<const Run> runs) {
  std::string html;
  for (const Split& split : splits_of(runs)) {
    const std::vector<Shown> shown = shown_of(runs, split);
    std::string charts;
    for (const std::string& kind : kinds_of(shown)) charts += charts_of_kind(runs, shown, kind);
    if (!charts.empty())
      html +=
          fmt::format("<h3>{}</h3>\n<div class=\"plots\">\n{}</div>\n", escaped(split_title(split)), charts);
  }
  return html.empty() ? "" : "<h2>Curves</h2>\n" + html;
}

std::string case_sections(std::span<const Run> runs) {
  return cards(runs, "Images to look at", [](const Evaluation& evaluation) {
    const std::vector<Case>& cases = evaluation.cases;
    if (cases.empty()) return std::string();
    const bool has_pictures =
        std::any_of(cases.begin(), cases.end(), [](const Case& one) { return !one.picture.empty(); });
    return has_pictures ? case_gallery(cases) : case_table(cases);
  });
}

}  // namespace cohort::report
