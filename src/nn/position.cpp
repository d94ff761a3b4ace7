#include "cohort/nn/position.h"

#include <ATen/ATen.h>

#include "cohort/core/error.h"

namespace cohort::nn {

at::Tensor interpolate_positions(const at::Tensor& table, std::int64_t prefix, PatchGrid from, PatchGrid to) {
  COHORT_CHECK(table.dim() == 3 && table.size(0) == 1 && table.size(1) == prefix + from.count(),
               "a position table of {} rows for {} tokens and {} x {} patches", table.size(1), prefix,
               from.rows, from.columns);
  if (from == to) return table;
  const std::int64_t width = table.size(2);
  const at::Tensor patches = table.narrow(1, prefix, from.count())
                                 .view({1, from.rows, from.columns, width})
                                 .permute({0, 3, 1, 2});  // [1, D, rows, columns]
  const double scale_rows = (static_cast<double>(to.rows) + 0.1) / static_cast<double>(from.rows);
  const double scale_columns = (static_cast<double>(to.columns) + 0.1) / static_cast<double>(from.columns);
  const at::Tensor resampled = at::upsample_bicubic2d(patches, {to.rows, to.columns}, /*align_corners=*/false,
                                                      scale_rows, scale_columns);
  return at::cat(
      {table.narrow(1, 0, prefix), resampled.permute({0, 2, 3, 1}).reshape({1, to.count(), width})}, 1);
}

}  // namespace cohort::nn
