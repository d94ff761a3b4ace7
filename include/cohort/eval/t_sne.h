#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

namespace cohort::eval {

struct TsneConfig {
  double perplexity = 30;  ///< how many neighbours a point has, in effect; at most a third of the others
  std::int64_t steps = 1000;
};

/// Places [n, 2] f64 in which points that are near each other in `features` [n, D] stay so (L. van der Maaten
/// and G. Hinton, "Visualizing data using t-SNE", JMLR 2008, with exact gradients, early exaggeration and
/// gains; the learning rate is n / 12, at least 50, of A. C. Belkina et al., 2019). It begins at `start` [n,
/// 2], scaled to a deviation of 10⁻⁴: the same start gives the same places, on any number of threads. n > 3;
/// O(n² steps) time, O(n²) memory: for some thousand points. One thread.
at::Tensor t_sne(const at::Tensor& features, const at::Tensor& start, const TsneConfig& config);

}  // namespace cohort::eval
