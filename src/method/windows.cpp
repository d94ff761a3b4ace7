#include "cohort/method/windows.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "cohort/core/error.h"

namespace cohort::method {
namespace {

using Lengths = std::vector<std::int64_t>;

/// Zeros behind the end of axes that are shorter than their window.
at::Tensor filled_up(const at::Tensor& images, at::IntArrayRef window) {
  Lengths behind;  // before and behind of every axis, the last axis first
  for (std::size_t axis = window.size(); axis-- > 0;) {
    const std::int64_t size = images.size(2 + static_cast<std::int64_t>(axis));
    behind.insert(behind.end(), {0, std::max<std::int64_t>(0, window[axis] - size)});
  }
  const bool fits = std::all_of(behind.begin(), behind.end(), [](std::int64_t width) { return width == 0; });
  return fits ? images : at::constant_pad_nd(images, behind);
}

/// [B, *, D, H, W] from `start` on, or to `lengths` from 0 on.
at::Tensor part_of(at::Tensor values, const Lengths& start, at::IntArrayRef lengths) {
  for (std::size_t axis = 0; axis < lengths.size(); ++axis)
    values = values.narrow(2 + static_cast<std::int64_t>(axis), start[axis], lengths[axis]);
  return values;
}

/// Every combination of a start for each axis, row by row.
std::vector<Lengths> places_of(const std::vector<Lengths>& starts) {
  std::vector<Lengths> places{{}};
  for (const Lengths& of_axis : starts) {
    std::vector<Lengths> longer;
    for (const Lengths& place : places) {
      for (const std::int64_t start : of_axis) {
        longer.push_back(place);
        longer.back().push_back(start);
      }
    }
    places = std::move(longer);
  }
  return places;
}

}  // namespace

std::vector<std::int64_t> window_starts(std::int64_t size, std::int64_t window, std::int64_t stride) {
  COHORT_CHECK(size > 0 && stride > 0 && window >= stride, "windows of {} each {} of {}", window, stride,
               size);
  Lengths starts;
  for (std::int64_t start = 0; start + window < size; start += stride) starts.push_back(start);
  starts.push_back(std::max<std::int64_t>(0, size - window));
  return starts;
}

at::Tensor answer_by_windows(const at::Tensor& images, at::IntArrayRef window, at::IntArrayRef stride,
                             const std::function<at::Tensor(const at::Tensor& images)>& answer) {
  const auto axes = static_cast<std::size_t>(images.dim() - 2);
  COHORT_CHECK(window.size() == axes && stride.size() == axes, "windows of {} axes in images of {}",
               window.size(), axes);
  const at::Tensor whole = filled_up(images, window);
  std::vector<Lengths> starts;
  for (std::size_t axis = 0; axis < axes; ++axis)
    starts.push_back(
        window_starts(whole.size(2 + static_cast<std::int64_t>(axis)), window[axis], stride[axis]));
  Lengths size = whole.sizes().vec();
  size[0] = size[1] = 1;
  const at::Tensor counts = at::zeros(size, whole.options().dtype(at::kFloat));
  at::Tensor sums;
  for (const Lengths& place : places_of(starts)) {
    const at::Tensor answered = answer(part_of(whole, place, window));
    if (!sums.defined()) {
      size[0] = answered.size(0);
      size[1] = answered.size(1);
      sums = at::zeros(size, answered.options().dtype(at::kFloat));
    }
    part_of(sums, place, window).add_(answered);
    part_of(counts, place, window).add_(1);
  }
  return part_of(sums / counts, Lengths(axes, 0), images.sizes().slice(2));
}

}  // namespace cohort::method
