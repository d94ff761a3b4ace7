#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

#include "cohort/nn/conditions.h"

namespace cohort::nn {

/// Which patches of B images stay, n of N each.
struct Masking {
  at::Tensor kept;     ///< [B, n] i64, numbers of the patches that stay
  at::Tensor restore;  ///< [B, N] i64, place of each patch among [kept ones, removed ones]
  at::Tensor mask;     ///< [B, N] f32: 1 where a patch is removed
};

/// How many of `patches` stay when `ratio` of them are removed: int(N (1 - ratio)) in double precision, as
/// published (100 patches and 0.9: 9).
std::int64_t kept_patches(std::int64_t patches, double ratio) noexcept;

/// Random masking of masked autoencoders (He et al., arXiv 2111.06377, published code): patches in the order
/// of `uniforms` [B, N], equal ones in that of their numbers; the first kept_patches() stay.
Masking random_masking(const at::Tensor& uniforms, double ratio);

/// [B, patches] f32 in [0, 1) for random_masking(), row i keyed by (seed, Purpose::masking, step, sample i,
/// copy): the same on any number of ranks and on any device. `copy` tells several masks of one image apart.
at::Tensor masking_uniforms(std::int64_t patches, const Conditions& conditions, std::uint32_t copy,
                            at::Device device);

}  // namespace cohort::nn
