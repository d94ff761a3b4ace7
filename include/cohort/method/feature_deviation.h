#pragma once
#include <ATen/core/Tensor.h>

#include "cohort/method/method.h"

namespace cohort::method {

/// Adds "feature_std": the deviation within a group of `features` [R, D], L2-normalised, mean over dimensions
/// and groups: 0 is collapse. `group` [R] i64.
void add_feature_deviation(Metrics& metrics, const at::Tensor& features, const at::Tensor& group);

}  // namespace cohort::method
