#include "cohort/nn/position.h"

#include <array>

#include <ATen/ATen.h>

#include "cohort/core/error.h"

namespace cohort::nn {
namespace {

// sin and cos of places [n] f64 by the w_i, [n, 2 quarter].
at::Tensor waves(const at::Tensor& places, std::int64_t quarter) {
  const at::Tensor steps = at::arange(quarter, at::kDouble) / static_cast<double>(quarter);
  const at::Tensor angles = places.unsqueeze(1) * at::pow(10000.0, -steps);
  return at::cat({angles.sin(), angles.cos()}, 1);
}

// [1, prefix + to.count(), D]
at::Tensor resampled_positions(const at::Tensor& table, std::int64_t prefix, PatchGrid from, PatchGrid to,
                               PositionInterpolation how) {
  const std::int64_t width = table.size(2);
  const at::Tensor patches = table.narrow(1, prefix, from.count())
                                 .view({1, from.rows, from.columns, width})
                                 .permute({0, 3, 1, 2});  // [1, D, rows, columns]
  const double scale_rows = (static_cast<double>(to.rows) + 0.1) / static_cast<double>(from.rows);
  const double scale_columns = (static_cast<double>(to.columns) + 0.1) / static_cast<double>(from.columns);
  const std::array<std::int64_t, 2> size{to.rows, to.columns};
  const auto resample = [&] {
    if (how == PositionInterpolation::exact)
      return at::_upsample_bicubic2d_aa(patches, size, /*align_corners=*/false);
    if (how == PositionInterpolation::plain)
      return at::upsample_bicubic2d(patches, size, /*align_corners=*/false);
    return at::upsample_bicubic2d(patches, size, /*align_corners=*/false, scale_rows, scale_columns);
  };
  return at::cat(
      {table.narrow(1, 0, prefix), resample().permute({0, 2, 3, 1}).reshape({1, to.count(), width})}, 1);
}

}  // namespace

std::span<const config::EnumName<PositionInterpolation>> enum_names(PositionInterpolation) {
  static constexpr std::array<config::EnumName<PositionInterpolation>, 3> names{
      {{PositionInterpolation::reference, "reference"},
       {PositionInterpolation::exact, "exact"},
       {PositionInterpolation::plain, "plain"}}};
  return names;
}

at::Tensor interpolate_positions(const at::Tensor& table, std::int64_t prefix, PatchGrid from, PatchGrid to,
                                 PositionInterpolation how) {
  COHORT_CHECK(table.dim() == 3 && table.size(0) == 1 && table.size(1) == prefix + from.count(),
               "a position table of {} rows for {} tokens and {} x {} patches", table.size(1), prefix,
               from.rows, from.columns);
  return from == to ? table : resampled_positions(table, prefix, from, to, how);
}

at::Tensor repeat_positions(const at::Tensor& table, std::int64_t prefix, PatchGrid from, PatchGrid to,
                            PositionInterpolation how, std::int64_t channels) {
  const bool keeps = from == to && (channels == 1 || how != PositionInterpolation::reference);
  const at::Tensor fitting = keeps ? table : resampled_positions(table, prefix, from, to, how);
  return at::cat(
      {fitting.narrow(1, 0, prefix), fitting.narrow(1, prefix, to.count()).repeat({1, channels, 1})}, 1);
}

std::span<const config::EnumName<PositionOrder>> enum_names(PositionOrder) {
  static constexpr std::array<config::EnumName<PositionOrder>, 2> names{
      {{PositionOrder::mae, "mae"}, {PositionOrder::cell, "cell"}}};
  return names;
}

at::Tensor fixed_positions(std::int64_t width, std::int64_t prefix, PatchGrid grid, PositionOrder order) {
  COHORT_CHECK(width > 0 && width % 4 == 0, "fixed positions of width {}: 4 does not divide it", width);
  const at::Tensor patch = at::arange(grid.count(), at::kDouble);
  const at::Tensor row = at::floor(patch / static_cast<double>(grid.columns)),
                   column = patch - row * static_cast<double>(grid.columns);
  const bool columns_first = order == PositionOrder::mae;
  const at::Tensor table = at::cat(
      {waves(columns_first ? column : row, width / 4), waves(columns_first ? row : column, width / 4)}, 1);
  return at::cat({at::zeros({prefix, width}, at::kDouble), table}).unsqueeze(0).to(at::kFloat);
}

}  // namespace cohort::nn
