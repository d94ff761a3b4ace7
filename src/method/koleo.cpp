#include "cohort/method/koleo.h"

#include <ATen/ATen.h>

namespace cohort::method {
namespace {

constexpr double kTiny = 1e-8;
constexpr double kNoOther = -2.0;  // below every cosine

// [n, n]: of the pairs that are no neighbours.
at::Tensor apart(const at::Tensor& unit, const at::Tensor& group) {
  const at::Tensor itself = at::eye(unit.size(1), unit.options().dtype(at::kBool));
  return group.defined() ? itself.logical_or(group.unsqueeze(1) != group.unsqueeze(0)) : itself;
}

// Choosing rows by a product gives the same values as an index, and a gradient that is added up in order.
at::Tensor chosen_rows(const at::Tensor& rows, const at::Tensor& index) {
  return at::matmul(at::one_hot(index, rows.size(1)).to(rows.scalar_type()), rows);
}

}  // namespace

at::Tensor koleo_sum(const at::Tensor& features, const at::Tensor& group) {
  const at::Tensor rows = features.to(at::kDouble);
  const at::Tensor unit = rows / at::linalg_vector_norm(rows, 2, {-1}, /*keepdim=*/true).clamp_min(kTiny);
  const at::Tensor fixed = unit.detach();
  const at::Tensor cosines =
      at::matmul(fixed, fixed.transpose(1, 2)).masked_fill(apart(unit, group), kNoOther);
  const auto [closest, index] = cosines.max(2);
  const at::Tensor distance = at::linalg_vector_norm(unit - chosen_rows(unit, index) + kTiny, 2, {-1});
  const at::Tensor has_other = (closest > kNoOther).to(at::kDouble);
  return -(at::log(distance + kTiny) * has_other).sum().to(features.scalar_type());
}

}  // namespace cohort::method
