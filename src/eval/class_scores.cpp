#include "eval/class_scores.h"

#include <cstdint>
#include <limits>
#include <string>

#include "eval/answers.h"

namespace cohort::eval {
namespace {

Score share_score(const std::string& name, double right, double all) {
  Score score{name, right / all};
  if (all > 0) score.interval = wilson(static_cast<std::int64_t>(right), static_cast<std::int64_t>(all));
  return score;
}

}  // namespace

std::vector<Score> class_scores(const FlagCounts& counts, const std::optional<Area>& area) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  return {share_score("precision", counts.true_positives, counts.true_positives + counts.false_positives),
          share_score("sensitivity", counts.true_positives, counts.positives()),
          share_score("specificity", counts.true_negatives, counts.negatives()),
          {"f1", counts.f1()},
          {"auroc", area ? area->area : kNone, area ? area->interval : std::nullopt},
          {"average_precision", area ? area->average_precision : kNone}};
}

Area of_others(const Area& area) {
  return {area.area, area.interval, area.average_precision_of_others, area.average_precision};
}

}  // namespace cohort::eval
