#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

#include "cohort/core/random.h"
#include "cohort/nn/dropout.h"

namespace cohort::nn {

/// [B, values_per_image] in [0, 1) on `device`, the same numbers on every device: row i depends on the sample
/// of image i alone. `conditions.sample`: [B], of any device.
at::Tensor keyed_uniform(std::int64_t values_per_image, Purpose purpose, const Conditions& conditions,
                         std::uint32_t layer, at::Device device);

}  // namespace cohort::nn
