#pragma once
#include <array>
#include <cstdint>
#include <span>

#include <ATen/core/Tensor.h>

#include "cohort/config/field.h"

namespace cohort::method {

/// Among which images of a step the nearest one is looked for.
enum class KoleoScope {
  global,       ///< all images of the step, on all ranks
  group,        ///< those of the image's group
  micro_batch,  ///< those that a rank computes at once, as published; depends on how a step is divided
};
inline std::span<const config::EnumName<KoleoScope>> enum_names(KoleoScope) {
  static constexpr std::array<config::EnumName<KoleoScope>, 3> names{
      {{KoleoScope::global, "global"},
       {KoleoScope::group, "group"},
       {KoleoScope::micro_batch, "micro_batch"}}};
  return names;
}

/// The Kozachenko-Leonenko regularizer (Sablayrolles et al., arXiv 1806.03198, equation 2, as DINOv2, arXiv
/// 2304.07193, has it), which spreads features over the sphere. Of features f [V, n, D], V views of n images:
///   sum over views and images i of -log(|u_i - u_j + e| + e), u = f / max(|f|, e), e = 1e-8,
/// where j is the other image of the view with the largest u_i u_j; the gradient goes to both. `group` [n]
/// i64: only images of i's group are looked at; undefined: all. An image that is alone counts 0. Scalar in
/// the precision of the features, computed in f64, differentiable. Memory: V n^2 values of f64.
at::Tensor koleo_sum(const at::Tensor& features, const at::Tensor& group = {});

}  // namespace cohort::method
