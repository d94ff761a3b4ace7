#include "column_sums.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "vector_math.h"

namespace cohort::nn {
namespace {

constexpr std::int64_t kColumns = 128;  // of a task: their sums fit the registers
constexpr std::int64_t kRows = 64;      // summed by themselves first: fewer roundings on the way

/// Adds `rows` rows of kColumns values, `width` apart, to `totals`.
COHORT_INLINE void add_rows(const c10::BFloat16* values, std::int64_t rows, std::int64_t width,
                            Floats (&totals)[kColumns / kLanes]) {
  Floats sums[kColumns / kLanes] = {};
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t i = 0; i < kColumns / kLanes; ++i) sums[i] += load(values + row * width + i * kLanes);
  }
  for (std::int64_t i = 0; i < kColumns / kLanes; ++i) totals[i] += sums[i];
}

COHORT_INLINE void sum_strip(const c10::BFloat16* values, std::int64_t rows, std::int64_t width,
                             float* sums) {
  Floats totals[kColumns / kLanes] = {};
  for (std::int64_t row = 0; row < rows; row += kRows)
    add_rows(values + row * width, std::min(kRows, rows - row), width, totals);
  for (std::int64_t i = 0; i < kColumns / kLanes; ++i) store(sums + i * kLanes, totals[i]);
}

}  // namespace

at::Tensor column_sums(const at::Tensor& rows) {
  const std::int64_t count = rows.size(0), width = rows.size(1);
  if (width % kColumns != 0) return rows.sum(0, /*keepdim=*/false, at::kFloat);
  const at::Tensor from = rows.contiguous(), sums = at::empty({width}, at::kFloat);
  const auto* const values = from.const_data_ptr<c10::BFloat16>();
  auto* const to = sums.mutable_data_ptr<float>();
  at::parallel_for(0, width / kColumns, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t strip = begin; strip < end; ++strip)
      for_this_processor<sum_strip>(values + strip * kColumns, count, width, to + strip * kColumns);
  });
  return sums;
}

}  // namespace cohort::nn
