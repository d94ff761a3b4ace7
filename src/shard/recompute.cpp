#include "recompute.h"

#include <utility>

#include <ATen/ThreadLocalState.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/autograd/variable.h>

namespace cohort::shard {
namespace {

using torch::autograd::variable_list;

// Autocast remembers bf16 copies of weights: one made without gradients must not serve a pass with them, and
// one made in the backward pass not the next step.
class NoAutocastCache {
 public:
  NoAutocastCache() : before_(at::autocast::is_autocast_cache_enabled()) {
    at::autocast::set_autocast_cache_enabled(false);
  }
  NoAutocastCache(const NoAutocastCache&) = delete;
  NoAutocastCache& operator=(const NoAutocastCache&) = delete;
  ~NoAutocastCache() { at::autocast::set_autocast_cache_enabled(before_); }

 private:
  bool before_;
};

class Recompute final : public torch::autograd::Node {
 public:
  Recompute(nn::UnitRunner::Body body, const at::Tensor& input)
      : body_(std::move(body)), input_(input, false) {}

  variable_list apply(variable_list&& gradients) override {
    const at::ThreadLocalStateGuard as_in_forward(state_);
    const at::AutoGradMode with_gradients(true);
    const NoAutocastCache no_cache;
    const at::Tensor input = input_.unpack().detach().requires_grad_(true);
    torch::autograd::backward({body_(input)}, {gradients[0]});
    return {input.grad()};
  }

  void release_variables() override {
    input_.reset_data();
    body_ = nullptr;
  }

 private:
  nn::UnitRunner::Body body_;
  torch::autograd::SavedVariable input_;
  at::ThreadLocalState state_;  // autocast
};

}  // namespace

at::Tensor recomputed(const nn::UnitRunner::Body& body, const at::Tensor& input) {
  if (!input.requires_grad()) return body(input);
  const auto node = std::shared_ptr<Recompute>(new Recompute(body, input), torch::autograd::deleteNode);
  node->set_next_edges(torch::autograd::collect_next_edges(input));
  at::Tensor output;
  {
    const at::NoGradGuard no_grad;
    const NoAutocastCache no_cache;
    output = body(input);
  }
  torch::autograd::create_gradient_edge(output, node);
  return output;
}

}  // namespace cohort::shard
