#pragma once
#include <cstddef>
#include <span>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"

namespace cohort::comm {

/// Reduces `count` values of every rank, by rank in `versions` (two or more), in the order of the ranks into
/// `total`, which may be one of the versions, and into `copy` where it is given. Values of bf16 are added in
/// f32 and rounded once. Dtypes that MPI carries.
void combine(std::span<const std::byte* const> versions, std::byte* total, std::size_t count,
             at::ScalarType type, Reduce op, std::byte* copy = nullptr);

}  // namespace cohort::comm
