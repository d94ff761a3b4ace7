#pragma once
#include <ATen/core/Tensor.h>

namespace cohort::nn {

/// Multi-head attention of projections [B, T, 3 D], as the layer qkv makes them (all of q, all of k, all of
/// v, heads contiguous in each): softmax(q k^T / sqrt(D / heads)) v of the first `queries` tokens, [B,
/// queries, D]. On processors with AVX-512 and its bf16 products in fp32 and bf16 by a kernel of our own that
/// keeps no [T, T] tensor, one head at a time; else as LibTorch does.
at::Tensor attention(const at::Tensor& qkv, std::int64_t heads, std::int64_t queries);

}  // namespace cohort::nn
