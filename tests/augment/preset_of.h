#pragma once
#include <string>

#include "cohort/augment/multi_crop.h"

namespace cohort::augment {

/// All other options are neutral.
inline ViewConfig preset_of(const std::string& name, const MultiCropConfig& sizes = {}) {
  ViewConfig config;
  config.preset = name;
  config.multi_crop = sizes;
  return config;
}

}  // namespace cohort::augment
