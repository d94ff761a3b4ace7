#include "cohort/core/runs_interval.h"

#include <cmath>

#include "core/student.h"

namespace cohort {

RunsInterval runs_interval(std::span<const double> scores) {
  const double none = std::nan("");
  if (scores.empty()) return {0, none, none, none, none};
  const auto count = static_cast<double>(scores.size());
  double mean = 0, squares = 0;
  for (const double score : scores) mean += score / count;
  for (const double score : scores) squares += (score - mean) * (score - mean);
  const std::int64_t runs = std::ssize(scores);
  if (runs < 2) return {runs, mean, none, none, none};
  const double deviation = std::sqrt(squares / (count - 1)), of_mean = deviation / std::sqrt(count);
  return {runs, mean, deviation, 1.96 * of_mean, student_quantile(0.05, count - 1) * of_mean};
}

}  // namespace cohort
