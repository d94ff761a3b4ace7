#pragma once
#include <cstdint>

#include "cohort/config/field.h"

namespace cohort::train {

struct ScheduleConfig {
  std::int64_t warmup_steps = 0;
  double lr_end = 1e-6;

  template <class Visit>
  void fields(Visit& visit) {
    visit("warmup_steps", warmup_steps, "steps of linear growth from 0 to the peak learning rate",
          config::Range<std::int64_t>{0, INT64_MAX});
    visit("lr_end", lr_end, "learning rate that the cosine approaches", config::Range{0.0, 10.0});
  }
};

/// Linear warm-up, then half a cosine (Loshchilov and Hutter, arXiv 1608.03983), of DINO's reference
/// implementation: warm-up is linspace(start, base, warmup_steps), both ends included; the cosine at i of n
/// steps left never reaches `end`.
double warmup_cosine(double base, double end, std::int64_t step, std::int64_t total_steps,
                     std::int64_t warmup_steps, double start = 0.0);

}  // namespace cohort::train
