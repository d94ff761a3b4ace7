#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/nn/conditions.h"

namespace cohort::nn {

/// Images in the order of their groups, as BatchNorm wants them: images of one group are neighbours. One
/// group of all, unless conditions.training and there are groups.
class ImageGroups {
 public:
  explicit ImageGroups(const Conditions& conditions);
  /// [B, …] -> the same in the order of groups; an undefined tensor stays one.
  [[nodiscard]] at::Tensor gathered(const at::Tensor& values) const;
  /// Back in the order of the images.
  [[nodiscard]] at::Tensor scattered(const at::Tensor& values) const;
  /// Images of each group; empty: one group of all.
  [[nodiscard]] const std::vector<std::int64_t>& sizes() const noexcept { return sizes_; }

 private:
  at::Tensor order_, back_;  // [B] i64; undefined: they are neighbours already
  std::vector<std::int64_t> sizes_;
};

}  // namespace cohort::nn
