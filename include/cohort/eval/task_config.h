#pragma once
#include <cstdint>
#include <vector>

#include "cohort/config/field.h"

namespace cohort::eval {

/// What scores of tasks are taken at.
struct TaskConfig {
  double threshold = 0.5;

  template <class Visit>
  void fields(Visit& visit) {
    visit("threshold", threshold,
          "probability from which on an answer is yes: of flags, of pixels of one class, and of the class "
          "whose "
          "sensitivity and specificity are told",
          config::Range{0.0, 1.0});
  }
};

}  // namespace cohort::eval
