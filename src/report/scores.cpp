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

Scored score(const Run& run, std::size_t index, const std::string& split) {
  Scored scored{{split, index, {}}, {}};
  const Evaluation* evaluation = run.last(split);
  if (evaluation == nullptr) {
    for (std::size_t i = 1; i < score_columns().size(); ++i) scored.add(kNothing, kNoScore);
  } else {
    const Context* worst = evaluation->worst();
    const double auc = evaluation->auc.value_or(kNoScore);
    scored.add(format_count(evaluation->images), kNoScore);
    scored.add(percent(evaluation->accuracy), evaluation->accuracy,
               range_text(evaluation->accuracy_range, 100, 1));
    scored.add(percent(evaluation->balanced_accuracy), evaluation->balanced_accuracy);
    scored.add(std::isnan(auc) ? kNothing : fmt::format("{:.3f}", auc), auc,
               range_text(evaluation->auc_range, 1, 3));
    scored.add(percent(evaluation->majority), kNoScore);
    scored.add(worst == nullptr ? kNothing
                                : fmt::format("{} {}", printable_name(worst->name), percent(worst->accuracy)),
               worst == nullptr ? kNoScore : worst->accuracy);
  }
  scored.add(speed_text(run), kNoScore);
  return scored;
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
      if (runs[i].last(split) != nullptr) scored.push_back(score(runs[i], i, split));
    }
    mark_best(scored);
    for (Scored& row : scored) rows.push_back(std::move(row.row));
  }
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].evaluations.empty()) rows.push_back(score(runs[i], i, kNothing).row);
  }
  return rows;
}

std::string percent(double fraction) {
  return std::isnan(fraction) ? kNothing : fmt::format("{:.1f} %", 100.0 * fraction);
}

}  // namespace cohort::report
