#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

namespace cohort::method {

/// What a masked autoencoder is to predict (He et al., arXiv 2111.06377, section 3): the pixels of each patch
/// [B, N, P² C] of `images` [B, C, H, W]; `normalised`: each patch x as (x - mean) / sqrt(var + 1e-6), with
/// the unbiased variance of its P² C values. Differentiable.
at::Tensor reconstruction_target(const at::Tensor& images, std::int64_t patch_size, bool normalised);

/// The inverse of the normalisation: `predicted` [B, N, P² C] with mean and deviation of `patches`.
at::Tensor with_statistics_of(const at::Tensor& patches, const at::Tensor& predicted);

/// [B, N] f32, or f64 of f64: mean squared differences over the values of each patch. The loss is their mean
/// over the patches that were removed.
at::Tensor reconstruction_errors(const at::Tensor& predicted, const at::Tensor& target);

}  // namespace cohort::method
