#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

namespace cohort::method {

/// Parameters α of the Beta(α, α) distribution that shares are drawn from; 0: off.
struct Mixing {
  double mixup = 0.0, cutmix = 0.0;
  [[nodiscard]] bool is_on() const noexcept { return mixup > 0 || cutmix > 0; }
};

/// Images mixed with others of their group.
struct Mixed {
  at::Tensor images;   ///< [B, C, H, W]
  at::Tensor partner;  ///< [B] i64, row of the other image
  at::Tensor share;    ///< [B] f32, of the own image: its label counts as much
};

/// Mixes image i of a group of m with image m - 1 - i: in other words two of one context, so that the context
/// token keeps its meaning. Images of a group are in random order. A group either adds its images (mixup, H.
/// Zhang et al., arXiv 1710.09412) or pastes a box (CutMix, S. Yun et al., arXiv 1905.04899), each with
/// probability 1/2 where both are on; share and box are drawn for the group. `images` [B, C, H, W], `group`
/// [B] i64 with equal numbers side by side. A function of (seed, step, number of the group).
Mixed mix_groups(const at::Tensor& images, const at::Tensor& group, const Mixing& mixing, std::uint64_t seed,
                 std::int64_t step);

}  // namespace cohort::method
