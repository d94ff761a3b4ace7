#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

namespace cohort::nn {

/// Sums and numbers of images over segments, [rows, D + 1], with a gradient for `means`: one kernel each way,
/// without atomic additions, so that the order of every sum is that of the images. `means` [B, D] f32 or f64;
/// `segment` [K, B] i64, the row that each image belongs to under each key. On the CPU the body of the kernel
/// is replayed, which is slow: for tests.
at::Tensor segment_sums(const at::Tensor& means, const at::Tensor& segment, std::int64_t rows);

}  // namespace cohort::nn
