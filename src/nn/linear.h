#pragma once
#include <ATen/core/Tensor.h>
#include <torch/nn/modules/linear.h>

namespace cohort::nn {

/// x W^T + b, as layer.forward(input): [..., in] -> [..., out], of input's dtype or the one autocast chooses,
/// with gradients of the first order. Not collective. Large fp32 products on the CPU are
/// formed by oneDNN, which is faster on AMD's processors than the MKL that LibTorch takes otherwise
/// (docs/performance.md). Everything else is LibTorch's own.
at::Tensor linear(torch::nn::LinearImpl& layer, const at::Tensor& input);

}  // namespace cohort::nn
