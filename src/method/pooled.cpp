#include "cohort/method/pooled.h"

#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/autograd.h>

#include "cohort/core/error.h"
#include "cohort/core/trace.h"
#include "cohort/nn/step_state.h"

namespace cohort::method {
namespace {

/// A value, and the gradient that it has with respect to `rows`.
struct ValueOfRows : torch::autograd::Function<ValueOfRows> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& /*rows*/,
                            const at::Tensor& gradient, double value) {
    context->save_for_backward({gradient});
    return at::full({}, value, gradient.options());
  }

  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               const torch::autograd::tensor_list& gradients) {
    return {context->get_saved_variables().front() * gradients.front(), at::Tensor(), at::Tensor()};
  }
};

/// [B, …]: the rows of all ranks, in their order, and where this rank's begin.
std::pair<at::Tensor, std::int64_t> gathered(const at::Tensor& rows, comm::Communicator* ranks) {
  if (ranks == nullptr || ranks->size() == 1) return {rows, 0};
  const at::Tensor all = ranks->gather_rows(rows.cpu()).to(rows.device());
  COHORT_CHECK(all.size(0) == rows.size(0) * ranks->size(), "ranks have {} rows together, this one {}",
               all.size(0), rows.size(0));
  return {all, rows.size(0) * ranks->rank()};
}

}  // namespace

void RowsOfAll::pool(const at::Tensor& rows, comm::Communicator* ranks, const Loss& loss_of_all) {
  const c10::impl::ExcludeDispatchKeyGuard in_full(c10::autocast_dispatch_keyset);
  const auto [all, first] = gathered(rows.detach().to(at::kFloat).contiguous(), ranks);
  const at::AutoGradMode with_gradients(true);
  const at::Tensor leaf = all.detach().requires_grad_();
  State result;
  const at::Tensor loss = loss_of_all(leaf, result.metrics);
  loss.backward();
  result.loss = loss.item<double>();
  result.rows = all.size(0);
  const at::Tensor gradient = leaf.grad().defined() ? leaf.grad() : at::zeros_like(leaf);
  result.gradient = gradient.narrow(0, first, rows.size(0));
  state_ = std::move(result);
}

at::Tensor RowsOfAll::share(const at::Tensor& rows, Metrics& metrics) {
  COHORT_CHECK(state_.has_value(), "{} rows of no step", rows.size(0));
  State& all = *state_;
  const std::int64_t count = rows.size(0), begin = std::exchange(all.begin, all.begin + count);
  if (begin == 0) {
    for (const Metrics::Entry& entry : all.metrics.entries()) metrics.add(entry.name, entry.sum, entry.count);
  }
  const at::Tensor gradient = all.gradient.narrow(0, begin, count).to(rows.options());
  const double part = all.loss * static_cast<double>(count) / static_cast<double>(all.rows);
  const at::Tensor loss = ValueOfRows::apply(rows, gradient, part);
  if (all.begin == all.gradient.size(0)) clear();
  return loss;
}

void PooledMethod::pool(const at::Tensor& rows, const Step& step) {
  pooled_.pool(rows, step.ranks,
               [&](const at::Tensor& all, Metrics& metrics) { return loss_of_all(all, step, metrics); });
}

void PooledMethod::prepare(std::span<const data::Batch> parts, const Step& step) {
  pooled_.clear();
  if (parts.size() < 2) return;
  const TraceSpan span(TraceKind::forward, "rows of all");
  const at::NoGradGuard no_gradients;
  const nn::RepeatedPass counted_later;
  std::vector<at::Tensor> rows;
  Metrics unused;
  for (const data::Batch& part : parts) rows.push_back(embed(part, step, unused));
  pool(at::cat(rows), step);
}

at::Tensor PooledMethod::loss(const data::Batch& batch, const Step& step, Metrics& metrics) {
  const at::Tensor rows = embed(batch, step, metrics);
  if (pooled_.is_empty()) pool(rows, step);
  return pooled_.share(rows, metrics);
}

}  // namespace cohort::method
