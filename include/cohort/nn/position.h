#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

namespace cohort::nn {

/// Patches of an image, row-major.
struct PatchGrid {
  std::int64_t rows, columns;
  [[nodiscard]] std::int64_t count() const noexcept { return rows * columns; }
  friend bool operator==(const PatchGrid&, const PatchGrid&) = default;
};

/// Position embedding for another grid of patches: `table` [1, prefix + from.count(), D] -> [1, prefix +
/// to.count(), D]. The first `prefix` rows (cls, context) are copied; the others are resampled, bicubic, with
/// scale factors (to + 0.1) / from for rows and columns, as in DINO and ContextViT, whose weights expect that
/// very grid of sample points. Returns `table` itself when the grids are equal. Differentiable.
at::Tensor interpolate_positions(const at::Tensor& table, std::int64_t prefix, PatchGrid from, PatchGrid to);

}  // namespace cohort::nn
