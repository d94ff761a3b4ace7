#include "cohort/data/context_runs.h"

#include <algorithm>

#include "cohort/core/error.h"

namespace cohort::data {

void ContextRuns::append(std::span<const std::int32_t> values) {
  for (const std::int32_t context : values) append(context, 1);
}

void ContextRuns::append(std::int32_t context, std::int64_t rows) {
  const std::int64_t behind = runs_.empty() ? 0 : runs_.back().first + runs_.back().rows;
  if (runs_.empty() || runs_.back().context != context) runs_.push_back({context, behind, 0});
  runs_.back().rows += rows;
}

std::int32_t ContextRuns::at(std::int64_t row) const {
  const auto behind =
      std::upper_bound(runs_.begin(), runs_.end(), row,
                       [](std::int64_t wanted, const ContextRun& run) { return wanted < run.first; });
  COHORT_CHECK(behind != runs_.begin() && row < std::prev(behind)->first + std::prev(behind)->rows,
               "row {} has no context", row);
  return std::prev(behind)->context;
}

}  // namespace cohort::data
