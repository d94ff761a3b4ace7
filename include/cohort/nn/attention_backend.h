#pragma once
#include <string_view>

#include <ATen/core/Tensor.h>

namespace cohort::nn {

/// The kernel that LibTorch chooses for softmax(q k^T / sqrt(d)) v of these tensors [B, heads, T, d], which
/// differs between devices, dtypes and sizes, and with requires_grad: "flash", "efficient" or "cudnn", which
/// keep no [T, T] table, or "math", which does and is slow on a GPU.
std::string_view attention_backend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value);

}  // namespace cohort::nn
