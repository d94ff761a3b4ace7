#include "confusion.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/text.h"

#include "svg.h"

namespace cohort::report {
namespace {

constexpr std::size_t kMostClasses = 16, kMostPairs = 15;

double images_of(const std::vector<double>& row) {
  return std::accumulate(row.begin(), row.end(), 0.0);
}

std::string count_text(double count) {
  return format_count(std::llround(count));
}

/// Darker for a larger part of the label's images.
std::string cell(double count, double images, bool is_right) {
  const double part = images > 0 ? count / images : 0.0;
  return fmt::format("<td class=\"{}\" style=\"--part:{:.3f}\">{}<small>{:.1f} %</small></td>",
                     is_right ? "right" : "wrong", part, count_text(count), 100 * part);
}

std::string matrix(const Evaluation& evaluation) {
  std::string html = "<table class=\"confusion\"><thead><tr><th class=\"left\">label \\ answer</th>";
  for (const std::string& name : evaluation.confused) html += fmt::format("<th>{}</th>", escaped(name));
  html += "<th>images</th></tr></thead><tbody>\n";
  for (std::size_t label = 0; label < evaluation.confused.size(); ++label) {
    const std::vector<double>& row = evaluation.confusion[label];
    html += fmt::format("<tr><td class=\"left\">{}</td>", escaped(evaluation.confused[label]));
    for (std::size_t answer = 0; answer < row.size(); ++answer)
      html += cell(row[answer], images_of(row), answer == label);
    html += fmt::format("<td>{}</td></tr>\n", count_text(images_of(row)));
  }
  return html + "</tbody></table>\n";
}

struct Pair {
  std::size_t label, answer;
  double count;
};

std::string most_frequent(const Evaluation& evaluation) {
  std::vector<Pair> pairs;
  for (std::size_t label = 0; label < evaluation.confused.size(); ++label) {
    for (std::size_t answer = 0; answer < evaluation.confused.size(); ++answer) {
      const double count = evaluation.confusion[label][answer];
      if (answer != label && count > 0) pairs.push_back({label, answer, count});
    }
  }
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const Pair& a, const Pair& b) { return a.count > b.count; });
  pairs.resize(std::min(pairs.size(), kMostPairs), Pair{0, 0, 0.0});
  std::string html =
      "<table><thead><tr><th class=\"left\">label</th><th class=\"left\">taken for</th><th>images</th>"
      "<th>of the label's</th></tr></thead><tbody>\n";
  for (const Pair& pair : pairs) {
    html += fmt::format(
        "<tr><td class=\"left\">{}</td><td class=\"left\">{}</td><td>{}</td><td>{:.1f} %</td></tr>\n",
        escaped(evaluation.confused[pair.label]), escaped(evaluation.confused[pair.answer]),
        count_text(pair.count), 100 * pair.count / images_of(evaluation.confusion[pair.label]));
  }
  return html + "</tbody></table>\n";
}

}  // namespace

std::string confusions(std::span<const Run> runs) {
  std::string cards;
  for (const Split& split : splits_of(runs)) {
    for (std::size_t i = 0; i < runs.size(); ++i) {
      const Evaluation* evaluation = runs[i].last(split);
      if (evaluation == nullptr || evaluation->confusion.empty()) continue;
      cards += fmt::format("<section class=\"card\"><h3><i class=\"swatch c{}\"></i>{}</h3><p>{}</p>\n",
                           i % 8, escaped(runs[i].name), escaped(split.name));
      cards += evaluation->confused.size() <= kMostClasses ? matrix(*evaluation) : most_frequent(*evaluation);
      cards += "</section>\n";
    }
  }
  if (cards.empty()) return "";
  return "<h2>What was taken for what</h2>\n<div class=\"charts\">\n" + cards + "</div>\n";
}

}  // namespace cohort::report
