#pragma once
#include <torch/nn/modules/normalization.h>

namespace cohort::nn {

struct NormalisedSum {
  at::Tensor sum, normalised;
};

/// Of `tokens` [B, T, D] and a residual `branch` of the same shape, or without one where it is undefined:
/// their sum, and its layer norm (Ba et al., arXiv 1607.06450) over the last dimension. On the CPU in one
/// pass each way, for fp32 tokens and branches in fp32, or in bf16 under autocast, in which the result is
/// then; else as LibTorch does. Gradients of weight and bias are added over blocks of rows of a fixed size:
/// the same bits on any number of threads.
NormalisedSum add_and_normalise(const at::Tensor& tokens, const at::Tensor& branch,
                                torch::nn::LayerNormImpl& norm);

/// tokens + branch, of the same shape and in the type of the tokens; one pass for fp32 tokens and a bf16
/// branch.
at::Tensor add_branch(const at::Tensor& tokens, const at::Tensor& branch);

}  // namespace cohort::nn
