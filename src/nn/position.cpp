#include "cohort/nn/position.h"

#include <array>

#include <ATen/ATen.h>

#include "cohort/core/error.h"

namespace cohort::nn {
namespace {

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
  const at::Tensor resampled =
      how == PositionInterpolation::exact
          ? at::_upsample_bicubic2d_aa(patches, size, /*align_corners=*/false)
          : at::upsample_bicubic2d(patches, size, /*align_corners=*/false, scale_rows, scale_columns);
  return at::cat(
      {table.narrow(1, 0, prefix), resampled.permute({0, 2, 3, 1}).reshape({1, to.count(), width})}, 1);
}

}  // namespace

std::span<const config::EnumName<PositionInterpolation>> enum_names(PositionInterpolation) {
  static constexpr std::array<config::EnumName<PositionInterpolation>, 2> names{
      {{PositionInterpolation::reference, "reference"}, {PositionInterpolation::exact, "exact"}}};
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
  const bool keeps = from == to && (channels == 1 || how == PositionInterpolation::exact);
  const at::Tensor fitting = keeps ? table : resampled_positions(table, prefix, from, to, how);
  return at::cat(
      {fitting.narrow(1, 0, prefix), fitting.narrow(1, prefix, to.count()).repeat({1, channels, 1})}, 1);
}

}  // namespace cohort::nn
