#pragma once
#include <span>

#include "cohort/core/random.h"

namespace cohort::augment {

/// Adds normal numbers of mean 0 to all `values`.
void add_noise(std::span<float> values, double deviation, RandomStream& stream);

}  // namespace cohort::augment
