#include "eval/passes.h"

#include <ATen/ATen.h>

namespace cohort::eval {

nn::Conditions evaluation_conditions(const data::Batch& batch, const at::Device& device) {
  nn::Conditions conditions;
  conditions.context = batch.context.to(device);
  conditions.group = batch.group.to(device);
  conditions.sample = batch.sample.to(device);
  return conditions;
}

at::Tensor in_order(const std::vector<at::Tensor>& parts, std::vector<std::int64_t> row_shape,
                    const at::Tensor& order, comm::Communicator& ranks) {
  row_shape.insert(row_shape.begin(), 0);
  const at::Tensor local = parts.empty() ? at::empty(row_shape) : at::cat(parts).contiguous();
  const at::Tensor gathered = ranks.gather_rows(local);
  return at::empty_like(gathered).index_copy_(0, order, gathered);
}

}  // namespace cohort::eval
