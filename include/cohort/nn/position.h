#pragma once
#include <cstdint>
#include <span>

#include <ATen/core/Tensor.h>

#include "cohort/config/field.h"

namespace cohort::nn {

/// Patches of an image, row-major.
struct PatchGrid {
  std::int64_t rows, columns;
  [[nodiscard]] std::int64_t count() const noexcept { return rows * columns; }
  friend bool operator==(const PatchGrid&, const PatchGrid&) = default;
};

/// How a position table serves another grid of patches; bicubic both.
enum class PositionInterpolation {
  reference,  ///< scale factors (to + 0.1) / from, as DINO, ContextViT and ChannelViT, whose weights expect
              ///< that very grid of sample points
  exact,      ///< the size of the grid itself, antialiased, as timm and DINOv2 with registers
  plain,      ///< the size of the grid itself, as DeiT and the fine-tuning of MAE
};
std::span<const config::EnumName<PositionInterpolation>> enum_names(PositionInterpolation);

/// Position embedding for another grid of patches: `table` [1, prefix + from.count(), D] -> [1, prefix +
/// to.count(), D]. The first `prefix` rows (cls, context) are copied; the others are resampled. Returns
/// `table` itself when the grids are equal. Differentiable.
at::Tensor interpolate_positions(const at::Tensor& table, std::int64_t prefix, PatchGrid from, PatchGrid to,
                                 PositionInterpolation how = PositionInterpolation::reference);

/// The same for ChannelViT, which has `channels` tokens at each position: [1, prefix + channels *
/// to.count(), D], patch rows repeated. As its reference implementation, `reference` resamples a table of the
/// same grid too, by (to + 0.1) / from, unless there is one channel.
at::Tensor repeat_positions(const at::Tensor& table, std::int64_t prefix, PatchGrid from, PatchGrid to,
                            PositionInterpolation how, std::int64_t channels);

/// Order of the quarters of a fixed position table, with w_i = 10000^(-i / (D/4)), i = 0 … D/4 - 1.
enum class PositionOrder {
  mae,   ///< [sin(column w), cos(column w), sin(row w), cos(row w)]: published MAE
  cell,  ///< [sin(row w), cos(row w), sin(column w), cos(column w)]: published MAE of cell images
};
std::span<const config::EnumName<PositionOrder>> enum_names(PositionOrder);

/// Sines and cosines of the places of a grid (He et al., arXiv 2111.06377, published code): [1, prefix +
/// grid.count(), width] f32, computed in fp64. The first `prefix` rows are zeros. Precondition: 4 divides
/// `width`.
at::Tensor fixed_positions(std::int64_t width, std::int64_t prefix, PatchGrid grid, PositionOrder order);

}  // namespace cohort::nn
