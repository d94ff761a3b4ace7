#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "cohort/eval/scorecard.h"

#include "support/json.h"

namespace cohort::eval {

/// [{"name", "value", "low", "high", "better", "unit"}]: what there is of these; no value is null.
Json scores_json(const std::vector<Score>& scores);
/// [{"key", "contexts": [{"name", "samples", "scores"}]}].
Json contexts_json(const std::vector<ScoredContexts>& contexts);
/// [{"name", "samples", "scores"}].
Json groups_json(const std::vector<ScoredGroup>& groups);
/// [{"kind", "of", "x", "y", "points"}].
Json curves_json(const std::vector<Curve>& curves);
/// [{"row", "id", "score", "what"}].
Json cases_json(const std::vector<Case>& cases);

/// "0.8123", "31.20 dB", "-" of none.
std::string score_text(const Score& score);

/// For the terminal: a line for all images, a line a class, then one a context of the first key, worst first;
/// of many the worst and the best alone, unless `all` are wanted. `columns`: of the terminal; scores at the
/// right are left out where there are fewer.
std::string scorecard_table(const std::string& title, const Scorecard& card, bool all,
                            std::optional<std::size_t> columns);

}  // namespace cohort::eval
