#pragma once
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace cohort::method {

/// In pixels, from the upper left corner of an image to the lower right one of the box.
struct Box {
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
};

/// Intersection over union, 0 of boxes without an area. `longer`: pixels that sides are longer than their
/// corners are apart, 1 where corners are the first and the last pixel of a box.
double overlap(const Box& a, const Box& b, double longer = 0) noexcept;

/// Which boxes are left out of those that say the same.
struct Suppression {
  double confidence = 0.0;  ///< boxes below it are left out
  double overlap = 0.5;     ///< with a kept box of the class, from which on a box is left out
  double longer = 0.0;      ///< as overlap() has it
};

/// Non-maximum suppression class by class: from the most confident box of an image on, each one is kept that
/// does not overlap too much with one that is. `boxes` [n, 5] f32 (x0, y0, x1, y1, class), `confidence` [n]
/// f32. Returns rows of `boxes`, by class, then by falling confidence; of equal ones the first row comes
/// first.
std::vector<std::int64_t> suppress_boxes(const at::Tensor& boxes, const at::Tensor& confidence,
                                         const Suppression& how);

}  // namespace cohort::method
