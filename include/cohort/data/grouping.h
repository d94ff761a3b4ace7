#pragma once
#include <string>
#include <vector>

#include "cohort/data/context_runs.h"
#include "cohort/data/dataset.h"

namespace cohort::data {

/// Which rows of a split belong together.
struct Grouping {
  std::vector<ContextRun> runs;     ///< in the order of the rows
  std::vector<std::string> values;  ///< context i is called values[i]
};

/// The rows by `keys`: one context key; several, separated by commas, whose combinations are the contexts
/// ("hospital_1 / slide_7", in order of appearance); or none, which makes all rows one context. Throws
/// UsageError for unknown keys.
Grouping grouping_of(const Dataset& dataset, const std::string& keys);

/// The keys in "hospital,slide".
std::vector<std::string> grouping_keys(const std::string& keys);

}  // namespace cohort::data
