#pragma once
#include <cstdint>
#include <functional>

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

/// Rows `first` … `first` + `count` - 1 of features, [count, D] f32 on the CPU.
using FeaturesOf = std::function<at::Tensor(std::int64_t first, std::int64_t count)>;

/// Of `images` > 0 features, read 8192 at a time, in fp64.
FeatureStatistics feature_statistics(std::int64_t images, const FeaturesOf& features);

}  // namespace cohort::eval
