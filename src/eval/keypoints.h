#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace cohort::eval {

/// A place of a heat map [H, W].
struct Keypoint {
  std::int64_t row = 0, column = 0;
  double score = 0.0;
};

/// `heat` [H, W] where a value is the largest of the `window` × `window` places around it, `window` odd, else
/// 0. Of equal neighbours all stay.
at::Tensor suppressed(const at::Tensor& heat, std::int64_t window);

/// Places of suppressed() with values above `threshold`, by falling value, of equal ones by row and column.
std::vector<Keypoint> keypoints(const at::Tensor& heat, std::int64_t window, double threshold);

/// Pairs of descriptors `first` [n, D] and `second` [m, D] of which each is the other's most similar one by
/// the dot product, of equal ones the first; [pairs, 2] i64, ascending.
at::Tensor mutual_matches(const at::Tensor& first, const at::Tensor& second);

/// [n] f64: how far `second` [n, 2] lies from where `homography` [3, 3] puts `first` [n, 2]; (x, y) in
/// pixels.
at::Tensor matching_errors(const at::Tensor& first, const at::Tensor& second, const at::Tensor& homography);

}  // namespace cohort::eval
