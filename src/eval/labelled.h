#pragma once
#include <cstdint>
#include <span>

#include <ATen/core/Tensor.h>

namespace cohort::eval {

/// The images that have a label.
struct Labelled {
  at::Tensor features;  ///< [N', D]
  at::Tensor labels;    ///< [N'] i64
  at::Tensor rows;      ///< [N'] i64, places among all images
};

/// `features` [N, D], `labels` [N], -1: none.
Labelled labelled(const at::Tensor& features, std::span<const std::int32_t> labels);

}  // namespace cohort::eval
