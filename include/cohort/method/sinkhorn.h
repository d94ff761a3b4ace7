#pragma once
#include <array>
#include <span>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/config/field.h"

namespace cohort::method {

/// What keeps one prototype from taking all of the teacher's probabilities.
enum class Centering {
  mean,      ///< the moving average of the teacher's logits is subtracted, as in DINO
  sinkhorn,  ///< the images of a step share the prototypes evenly
};
inline std::span<const config::EnumName<Centering>> enum_names(Centering) {
  static constexpr std::array<config::EnumName<Centering>, 2> names{
      {{Centering::mean, "mean"}, {Centering::sinkhorn, "sinkhorn"}}};
  return names;
}

/// Sinkhorn-Knopp centring (Cuturi, arXiv 1306.0895; SwAV, arXiv 2006.09882, and published code of DINOv2,
/// arXiv 2304.07193): the centre c [K] for which softmax((logits - c) / temperature) are its probabilities.
/// Those are: Q = exp(logits / temperature) [rows of all ranks, K]; three times columns are divided to the
/// sum 1 / K, then rows to 1 / R; at last rows are multiplied by R. What it does to columns is a factor
/// exp(-c / temperature) of each. `logits` [R, K]: this rank's rows of the whole step. In the precision of
/// the logits, computed in f64 from logarithms: no logit is too large. Sums are those of multiples of 2^-32
/// of a column's largest value, and have the same bits in any order. Collective: six sums or maxima of [K].
/// `ranks` null: this rank alone. Not differentiable.
at::Tensor sinkhorn_centre(const at::Tensor& logits, double temperature, comm::Communicator* ranks);

}  // namespace cohort::method
