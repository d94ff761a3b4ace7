#include "scores.h"

#include <array>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "cohort/core/printable.h"
#include "cohort/core/text.h"

namespace cohort::report {
namespace {

constexpr const char* kNothing = "–";
constexpr double kNoScore = std::numeric_limits<double>::quiet_NaN();

/// What the columns are made of; NaN: nothing to compare.
struct Scored {
  ScoreRow row;
  std::vector<double> values;

  void add(std::string text, double value, std::string range = "") {
    row.cells.push_back({std::move(text), false, std::move(range)});
    values.push_back(value);
  }
};

std::string range_text(const std::optional<Range>& range, double scale, int digits) {
  if (!range || std::isnan(range->low) || std::isnan(range->high)) return "";
  return fmt::format("{:.{}f} … {:.{}f}", scale * range->low, digits, scale * range->high, digits);
}

std::string speed_text(const Run& run) {
  const auto speed = run.images_per_second();
  return speed && std::isfinite(*speed) ? format_count(std::llround(*speed)) : kNothing;
}

Scored score(const Run& run, std::size_t index, const Evaluation& evaluation) {
  Scored scored{{evaluation.split, index, {}}, {}};
  const Context* worst = evaluation.worst();
  const double auc = evaluation.auc.value_or(kNoScore);
  scored.add(format_count(evaluation.images), kNoScore);
  scored.add(percent(evaluation.accuracy), evaluation.accuracy,
             range_text(evaluation.accuracy_range, 100, 1));
  scored.add(percent(evaluation.balanced_accuracy), evaluation.balanced_accuracy);
  scored.add(std::isnan(auc) ? kNothing : fmt::format("{:.3f}", auc), auc,
             range_text(evaluation.auc_range, 1, 3));
  scored.add(percent(evaluation.majority), kNoScore);
  scored.add(worst == nullptr ? kNothing
                              : fmt::format("{} {}", printable_name(worst->name), percent(worst->accuracy)),
             worst == nullptr ? kNoScore : worst->accuracy);
  scored.add(speed_text(run), kNoScore);
  return scored;
}

/// The last value of a series, with so many digits behind the point.
std::string last_text(const Run& run, const std::string& key, int digits) {
  const auto found = run.series.find(key);
  if (found == run.series.end() || found->second.empty()) return kNothing;
  return fmt::format("{:.{}f}", found->second.back().second, digits);
}

std::string method_of(const Run& run) {
  const auto found = run.config.find("method");
  return found == run.config.end() ? kNothing : found->second;
}

/// Values that print alike are equally good.
void mark_best(std::span<Scored> rows) {
  for (std::size_t column = 0; column < score_columns().size(); ++column) {
    const auto rounded = [&](const Scored& row) { return std::round(row.values[column] * 1000.0); };
    double best = -1.0;
    int compared = 0;
    for (const Scored& row : rows) {
      if (std::isnan(row.values[column])) continue;
      best = std::max(best, rounded(row));
      ++compared;
    }
    for (Scored& row : rows) row.row.cells[column].best = compared > 1 && rounded(row) == best;
  }
}

}  // namespace

std::span<const std::string> score_columns() {
  static const std::array<std::string, 7> kColumns{
      "images",         "accuracy",      "balanced accuracy",  "AUC",
      "majority class", "worst context", "images/s, all ranks"};
  return kColumns;
}

std::vector<ScoreRow> score_rows(std::span<const Run> runs) {
  std::vector<ScoreRow> rows;
  for (const std::string& split : splits_of(runs)) {
    std::vector<Scored> scored;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      if (const Evaluation* last = runs[i].last(split)) scored.push_back(score(runs[i], i, *last));
    }
    mark_best(scored);
    for (Scored& row : scored) rows.push_back(std::move(row.row));
  }
  return rows;
}

std::span<const std::array<std::string, 2>> unscored_columns() {
  static const std::array<std::array<std::string, 2>, 6> kColumns{{{"method", ""},
                                                                   {"steps", ""},
                                                                   {"last training", "loss"},
                                                                   {"deviation", "of features"},
                                                                   {"effective rank", "of features"},
                                                                   {"images/s", "all ranks"}}};
  return kColumns;
}

std::vector<UnscoredRow> unscored_rows(std::span<const Run> runs) {
  std::vector<UnscoredRow> rows;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Run& run = runs[i];
    if (!run.evaluations.empty()) continue;
    rows.push_back({i,
                    {method_of(run), format_count(run.steps()), last_text(run, "loss", 4),
                     last_text(run, "features: deviation", 4), last_text(run, "features: effective_rank", 1),
                     speed_text(run)}});
  }
  return rows;
}

std::string percent(double fraction) {
  return std::isnan(fraction) ? kNothing : fmt::format("{:.1f} %", 100.0 * fraction);
}

}  // namespace cohort::report
