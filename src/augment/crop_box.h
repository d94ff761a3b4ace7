#pragma once
#include <cstdint>

#include "cohort/core/random.h"

#include "augment/planes.h"

namespace cohort::augment {

/// A crop of random area and aspect, as torchvision's RandomResizedCrop.get_params: area in [lowest, highest]
/// of the image's, log-uniform aspect 3/4 … 4/3, ten attempts, else the middle of the image within these
/// aspects. Whole pixels.
Box random_crop(std::int64_t height, std::int64_t width, double lowest, double highest, RandomStream stream);

}  // namespace cohort::augment
