#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace cohort::method {

/// Where windows of `window` pixels begin along `size` pixels: 0, stride, 2 stride …; the last one ends with
/// the pixels. One window, at 0, where they are not more than it. Precondition: window ≥ stride > 0, size >
/// 0.
std::vector<std::int64_t> window_starts(std::int64_t size, std::int64_t window, std::int64_t stride);

/// The answer to images that are larger than what is answered at once: the mean of the answers of all windows
/// that a pixel lies in, added up row by row.
/// `images` [B, C, H, W], or volumes [B, C, D, H, W]; `window` and `stride` by axis: {h, w}, or {d, h, w}.
/// `answer` gets [B, C, h, w], which it must not keep, and gives [B, K, h, w], once for every window.
/// An axis shorter than its window is filled with zeros at its end, and what is answered there is left out.
/// Returns [B, K, H, W] f32. How often `answer` is called depends on sizes alone: it may be
/// collective where ranks have images of one size.
at::Tensor answer_by_windows(const at::Tensor& images, at::IntArrayRef window, at::IntArrayRef stride,
                             const std::function<at::Tensor(const at::Tensor& images)>& answer);

}  // namespace cohort::method
