#include "cohort/core/runs_interval.h"

#include <cmath>

#include "cohort/core/error.h"

#include "core/student.h"

namespace cohort {

RunsInterval runs_interval(std::span<const double> scores) {
  COHORT_CHECK(!scores.empty(), "an interval of no runs");
  const auto count = static_cast<double>(scores.size());
  double mean = 0, squares = 0;
  for (const double score : scores) mean += score / count;
  for (const double score : scores) squares += (score - mean) * (score - mean);
  if (scores.size() < 2) return {mean, std::nan(""), std::nan(""), std::nan("")};
  const double deviation = std::sqrt(squares / (count - 1)), of_mean = deviation / std::sqrt(count);
  return {mean, deviation, 1.96 * of_mean, student_quantile(0.05, count - 1) * of_mean};
}

}  // namespace cohort
