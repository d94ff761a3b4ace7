#include "cohort/core/schedule.h"

#include <cmath>
#include <numbers>

#include "cohort/core/error.h"

namespace cohort {

double warmup_cosine(double base, double end, std::int64_t step, std::int64_t total_steps,
                     std::int64_t warmup_steps, double start) {
  COHORT_CHECK(step >= 0 && step <= total_steps, "step {} of {}", step, total_steps);
  if (step < warmup_steps) {
    if (warmup_steps == 1) return start;
    return start + (base - start) * static_cast<double>(step) / static_cast<double>(warmup_steps - 1);
  }
  const double done =
      static_cast<double>(step - warmup_steps) / static_cast<double>(total_steps - warmup_steps);
  return end + 0.5 * (base - end) * (1.0 + std::cos(std::numbers::pi * done));
}

}  // namespace cohort
