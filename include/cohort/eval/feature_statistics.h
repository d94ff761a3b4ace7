#pragma once
#include <ATen/core/Tensor.h>

namespace cohort::eval {

/// Whether features have collapsed, without labels.
struct FeatureStatistics {
  /// Deviation over the images of features of length 1, mean over dimensions: at most 1/√D; 0: all alike.
  double deviation = 0.0;
  /// exp of the entropy of the singular values divided by their sum, 1 … D (Roy and Vetterli, "The effective
  /// rank", EUSIPCO 2007; as RankMe, arXiv 2210.02885, not centred): 1: all features have one direction.
  double effective_rank = 0.0;
};

/// Of `features` [N, D] f32 on the CPU, in fp64. N > 0.
FeatureStatistics feature_statistics(const at::Tensor& features);

}  // namespace cohort::eval
