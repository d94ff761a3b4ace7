#include "eval/percentiles.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace cohort::eval {

Interval middle_95(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double part) {
    return values[static_cast<std::size_t>(std::lround(part * static_cast<double>(values.size() - 1)))];
  };
  return {at(0.025), at(0.975)};
}

}  // namespace cohort::eval
