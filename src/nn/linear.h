#pragma once
#include <ATen/core/Tensor.h>
#include <torch/nn/modules/linear.h>

namespace cohort::nn {

/// x W^T + b, as layer.forward(input): [..., in] -> [..., out], of input's dtype or the one autocast chooses,
/// with gradients of the first order. Not collective. Large fp32 products on the CPU are formed by oneDNN,
/// which is faster on AMD's processors than the MKL that LibTorch takes otherwise (docs/performance.md); bf16
/// ones under autocast too, in fp32 where it has none of bf16. Everything else is LibTorch's own.
at::Tensor linear(torch::nn::LinearImpl& layer, const at::Tensor& input);

/// The same of a weight [out, in] and a bias [out], which may be undefined.
at::Tensor linear(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias);

/// Whether LibTorch multiplies bf16 numbers on this processor as fast as fp32 ones: with AVX-512, and less
/// for ONEDNN_MAX_CPU_ISA. Where it does not, products of bf16 numbers are formed in fp32 and rounded: the
/// same numbers but for the order of sums. Looked up once. Any thread.
bool has_bf16_products();

/// Whether autocast turns operands of products on `device` into bf16, on this thread.
bool narrows_products(c10::DeviceType device);

}  // namespace cohort::nn
