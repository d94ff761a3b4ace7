#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "cohort/config/field.h"

namespace cohort::eval {

/// What scores of tasks are taken at.
struct TaskConfig {
  double threshold = 0.5;
  double data_range = 0.0;
  std::vector<double> false_positive_rates{0.01};
  std::string mean_by;
  std::vector<std::int64_t> recall_at{1, 5, 10};

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
    visit("false_positive_rates", false_positive_rates,
          "of verification: parts of the images to be refused that may be accepted where the true positive "
          "rate is told",
          config::Range{0.0, 1.0});
    visit("mean_by", mean_by,
          "of verification: context key whose images are judged together, by the mean of their scores, such "
          "as the frames of a video; empty: each image by itself");
    visit("recall_at", recall_at,
          "of retrieval: a query has found what belongs to it among so many first ones",
          config::Range{1.0, 1e9});
  }
};

}  // namespace cohort::eval
