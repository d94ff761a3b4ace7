#include "cohort/method/conditions.h"

#include <ATen/ATen.h>

namespace cohort::method {

nn::Conditions conditions(const data::Batch& batch, const Step& step, nn::Scope scope, std::int64_t first,
                          std::int64_t count, bool training) {
  const std::int64_t all = std::ssize(batch.views);
  const at::Tensor view = at::arange(first, first + count, batch.sample.options()).unsqueeze(1);
  return {.context = batch.context.repeat({count, 1}),
          .group = batch.group.repeat({count}),
          .sample = (batch.sample * all + view).flatten(),
          .seed = step.seed,
          .step = step.step,
          .training = training,
          .scope = scope,
          .ranks = step.ranks};
}

}  // namespace cohort::method
