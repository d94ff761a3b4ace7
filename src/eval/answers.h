#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace cohort::eval {

/// One labelled image.
struct Answer {
  std::int32_t label, predicted, context;
  double confidence, loss, margin;  ///< margin: logit of class 1 minus class 0; two classes only
};

}  // namespace cohort::eval
