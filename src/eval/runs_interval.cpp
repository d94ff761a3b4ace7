#include "cohort/eval/runs_interval.h"

#include <cmath>
#include <limits>
#include <numeric>

namespace cohort::eval {

RunsInterval runs_interval(std::span<const double> values) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN(), kNormal = 1.96;
  const auto count = static_cast<double>(values.size());
  if (values.empty()) return {0, kNone, kNone, kNone};
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  if (values.size() < 2) return {1, mean, kNone, kNone};
  double squares = 0.0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double deviation = std::sqrt(squares / (count - 1.0));
  return {static_cast<std::int64_t>(values.size()), mean, deviation, kNormal * deviation / std::sqrt(count)};
}

}  // namespace cohort::eval
