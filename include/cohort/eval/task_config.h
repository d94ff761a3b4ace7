#pragma once
#include <cstdint>
#include <vector>

#include "cohort/config/field.h"

namespace cohort::eval {

/// What scores of tasks are taken at.
struct TaskConfig {
  double threshold = 0.5;
  double data_range = 0.0;

  template <class Visit>
  void fields(Visit& visit) {
    visit("threshold", threshold,
          "probability from which on an answer is yes: of flags, of pixels of one class, and of the class "
          "whose "
          "sensitivity and specificity are told",
          config::Range{0.0, 1.0});
    visit("data_range", data_range,
          "largest minus smallest possible value of images that are restored, for PSNR and SSIM; 0: that of "
          "their "
          "type, 255 or 65535, of fractions 1",
          config::Range{0.0, 1e30});
  }
};

}  // namespace cohort::eval
