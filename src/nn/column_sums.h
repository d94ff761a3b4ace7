#pragma once
#include <ATen/core/Tensor.h>

namespace cohort::nn {

/// f32 [n] from bf16 rows [m, n] on the CPU, in one pass; the same bits for any number of threads.
at::Tensor column_sums(const at::Tensor& rows);

}  // namespace cohort::nn
