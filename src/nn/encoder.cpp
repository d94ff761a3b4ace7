#include "cohort/nn/encoder.h"

#include "cohort/core/error.h"

namespace cohort::nn {

Encoder::Output Encoder::encode_at(std::int64_t layer, const at::Tensor& /*images*/,
                                   const Conditions& /*conditions*/, unsigned /*wanted*/) {
  COHORT_CHECK(false, "layer {} of a {}", layer, traits().kind);
  return {};
}

}  // namespace cohort::nn
