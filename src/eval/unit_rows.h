#pragma once
#include <ATen/ATen.h>

namespace cohort::eval {

/// `rows` [N, D], each of length 1; rows of zeros stay so.
inline at::Tensor unit_rows(const at::Tensor& rows) {
  return rows / rows.norm(2, 1, true).clamp_min(1e-12);
}

}  // namespace cohort::eval
