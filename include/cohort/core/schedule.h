#pragma once
#include <cstdint>

namespace cohort {

/// Linear warm-up, then half a cosine (Loshchilov and Hutter, arXiv 1608.03983), of DINO's reference
/// implementation: warm-up is linspace(start, base, warmup_steps), both ends included; the cosine at i of n
/// steps left reaches `end` at step total_steps, the one after the last. step: 0 … total_steps.
double warmup_cosine(double base, double end, std::int64_t step, std::int64_t total_steps,
                     std::int64_t warmup_steps, double start = 0.0);

}  // namespace cohort
