#pragma once
#include <cstdint>

#include "cohort/core/random.h"

#include "augment/planes.h"

namespace cohort::augment {

/// Width / height.
struct AspectRange {
  double flattest = 3.0 / 4.0, widest = 4.0 / 3.0;
};

/// A crop of random area and aspect, as torchvision's RandomResizedCrop.get_params: area in [lowest, highest]
/// of the image's, log-uniform aspect, ten attempts, else the middle of the image within these aspects. Whole
/// pixels.
Box random_crop(std::int64_t height, std::int64_t width, double lowest, double highest, RandomStream stream,
                AspectRange aspects = {});

}  // namespace cohort::augment
