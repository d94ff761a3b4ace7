#include "cohort/comm/autograd.h"

#include <torch/autograd.h>

#include "cohort/core/error.h"

namespace cohort::comm {
namespace {

at::Tensor summed(const at::Tensor& values, Communicator& ranks) {
  at::Tensor total = values.clone(at::MemoryFormat::Contiguous);
  ranks.all_reduce(total).wait();
  return total;
}

struct AllReduceSum : torch::autograd::Function<AllReduceSum> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& values,
                            Communicator* ranks) {
    context->saved_data["ranks"] = reinterpret_cast<std::int64_t>(ranks);
    return summed(values, *ranks);
  }

  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               const torch::autograd::tensor_list& gradients) {
    auto* ranks = reinterpret_cast<Communicator*>(context->saved_data["ranks"].toInt());
    COHORT_CHECK(gradients[0].defined(),
                 "all_reduce_sum: this rank's result has no gradient, others would wait for it");
    return {summed(gradients[0], *ranks), at::Tensor()};
  }
};

}  // namespace

at::Tensor all_reduce_sum(const at::Tensor& values, Communicator& ranks) {
  return AllReduceSum::apply(values, &ranks);
}

}  // namespace cohort::comm
