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

/// The same by the body of the kernel, on the CPU: what its test compares.
at::Tensor replayed_uniform(std::int64_t values_per_image, Purpose purpose, const Conditions& conditions,
                            std::uint32_t layer);

}  // namespace cohort::nn
