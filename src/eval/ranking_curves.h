#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cohort/eval/scorecard.h"

#include "eval/spilled_rankings.h"

namespace cohort::eval {

/// The classes that curves are drawn of, ascending: all, or the 20 with the most images, so that a record of
/// a thousand classes stays small. `images`: of each class.
std::vector<std::size_t> drawn_classes(std::span<const std::int64_t> images);

/// The ROC and precision–recall curves of class `of`.
void add_ranking_curves(const Area& area, const std::string& of, std::vector<Curve>& curves);

}  // namespace cohort::eval
