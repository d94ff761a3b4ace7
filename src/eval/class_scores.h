#pragma once
#include <optional>
#include <vector>

#include "cohort/eval/scorecard.h"

#include "eval/flag_counts.h"
#include "eval/spilled_rankings.h"

namespace cohort::eval {

/// "precision", "sensitivity" (which is recall) and "specificity", with Wilson's intervals, "f1", "auroc" and
/// "average_precision" of one class against the rest. `area`: nothing where one side is absent.
std::vector<Score> class_scores(const FlagCounts& counts, const std::optional<Area>& area);

/// What is said of the other side: the same numbers in the other order.
Area of_others(const Area& area);

}  // namespace cohort::eval
