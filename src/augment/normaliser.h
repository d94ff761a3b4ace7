#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "cohort/augment/views.h"
#include "cohort/data/description.h"

namespace cohort::augment {

constexpr double kLeastDeviation = 1e-6;

/// Per channel, in stored units; deviations are at least kLeastDeviation.
struct ChannelStatistics {
  std::vector<float> mean, deviation;
};

/// Those of the dataset or of ImageNet. Throws UsageError: ImageNet's for images that are not 8-bit RGB.
ChannelStatistics channel_statistics(const data::Description& description, Normalisation normalisation);

/// (value - mean) / deviation.
class Normaliser {
 public:
  Normaliser(const data::Description& description, Normalisation normalisation);
  /// `values`, `normalised`: [C, pixels].
  void apply(std::span<const float> values, std::span<float> normalised) const;

 private:
  std::int64_t channels_;
  ChannelStatistics statistics_;  // empty: each image has its own
};

}  // namespace cohort::augment
