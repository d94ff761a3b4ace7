#pragma once
#include <vector>

#include "cohort/eval/scorecard.h"

namespace cohort::eval {

/// Percentiles 2.5 and 97.5 of some values.
Interval middle_95(std::vector<double> values);

}  // namespace cohort::eval
