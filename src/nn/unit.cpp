#include "cohort/nn/unit.h"

namespace cohort::nn {

at::Tensor UnitRunner::run(std::size_t /*index*/, const at::Tensor& input, const Body& body) {
  return body(input);
}

}  // namespace cohort::nn
