#pragma once
#include <ATen/core/Tensor.h>

namespace cohort::nn {

/// x Phi(x), with the distribution function of the normal distribution (Hendrycks and Gimpel, arXiv
/// 1606.08415), exact up to rounding. On the CPU in fp32 and bf16 in one pass each way; else as LibTorch
/// does.
at::Tensor exact_gelu(const at::Tensor& input);

}  // namespace cohort::nn
