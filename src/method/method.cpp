#include "cohort/method/method.h"

#include <algorithm>

#include "cohort/core/error.h"

namespace cohort::method {

const Part& trained_part(std::span<const Part> parts) {
  const auto is_trained = [](const Part& part) { return part.is_trained(); };
  const auto count = std::count_if(parts.begin(), parts.end(), is_trained);
  COHORT_CHECK(count == 1, "a method trains one part, which may be made of towers, not {}", count);
  return *std::find_if(parts.begin(), parts.end(), is_trained);
}

Answers Method::answer(const data::Batch& /*batch*/, const nn::Conditions& /*conditions*/) {
  COHORT_CHECK(false, "a method without a task has no answers");
  return {};
}

}  // namespace cohort::method
