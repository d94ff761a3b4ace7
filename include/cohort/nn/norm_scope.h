#pragma once
#include <span>

#include "cohort/config/field.h"

namespace cohort::nn {

/// Which images share the statistics of a batch normalisation in training.
enum class NormScope {
  group,   ///< those of a group, which lies on one rank: no communication (the published "per GPU")
  all,     ///< those of all ranks in one pass ("synchronised"): no micro-batches
  frozen,  ///< none: the running statistics count, and stay as they are
};
std::span<const config::EnumName<NormScope>> enum_names(NormScope);

}  // namespace cohort::nn
