#pragma once
#include <cstdint>

#include "cohort/train/run_config.h"

namespace cohort::train {

/// Steps that a run of this configuration makes in all.
std::int64_t planned_steps(const RunConfig& config, std::int64_t steps_per_epoch);

/// Of step `step`, counted from 0, of `total_steps`: a warm-up, then half a cosine (core/schedule.h); with
/// schedule.plateau the peak instead, lowered `reductions` times.
double learning_rate(const RunConfig& config, std::int64_t step, std::int64_t total_steps,
                     std::int64_t steps_per_epoch, std::int64_t reductions = 0);

}  // namespace cohort::train
