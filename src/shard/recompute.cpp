#include "recompute.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/ThreadLocalState.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/autograd/variable.h>

#include "cohort/nn/step_state.h"

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

bool needs_gradient(const at::Tensor& tensor) {
  return tensor.defined() && tensor.requires_grad();
}

bool is_among(const at::Tensor& tensor, const nn::Tensors& others) {
  return std::any_of(others.begin(), others.end(),
                     [&](const at::Tensor& other) { return tensor.is_same(other); });
}

class Recompute final : public torch::autograd::Node {
 public:
  Recompute(nn::UnitRunner::Body body, const nn::Tensors& inputs) : body_(std::move(body)) {
    for (const at::Tensor& input : inputs) {
      inputs_.emplace_back(input, false);
      needed_.push_back(needs_gradient(input));
    }
  }

  /// `outputs` of body(inputs), computed without gradients, get theirs from this node; inputs among them, and
  /// what is no floating-point tensor, do not.
  void give(nn::Tensors& outputs, const nn::Tensors& inputs, const std::shared_ptr<Node>& self) {
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      at::Tensor& output = outputs[i];
      if (!output.defined() || !output.is_floating_point() || is_among(output, inputs)) continue;
      torch::autograd::create_gradient_edge(output, self);
      given_.push_back(i);
    }
  }

  variable_list apply(variable_list&& gradients) override {
    const at::ThreadLocalStateGuard as_in_forward(state_);
    const at::AutoGradMode with_gradients(true);
    const NoAutocastCache no_cache;
    const nn::RepeatedPass repeated;
    nn::Tensors inputs;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const at::Tensor input = inputs_[i].unpack();
      inputs.push_back(needed_[i] ? input.detach().requires_grad_(true) : input);
    }
    backward_through(body_(inputs), gradients);
    variable_list result;
    for (std::size_t i = 0; i < inputs.size(); ++i)
      result.push_back(needed_[i] ? inputs[i].grad() : at::Tensor());
    return result;
  }

  void release_variables() override {
    for (auto& input : inputs_) input.reset_data();
    body_ = nullptr;
  }

 private:
  void backward_through(const nn::Tensors& outputs, const variable_list& gradients) const {
    variable_list roots, of_roots;
    for (std::size_t i = 0; i < given_.size(); ++i) {
      if (!gradients[i].defined() || !needs_gradient(outputs[given_[i]])) continue;
      roots.push_back(outputs[given_[i]]);
      of_roots.push_back(gradients[i]);
    }
    if (!roots.empty()) torch::autograd::backward(roots, of_roots);
  }

  nn::UnitRunner::Body body_;
  std::vector<torch::autograd::SavedVariable> inputs_;
  std::vector<bool> needed_;        // by input
  std::vector<std::size_t> given_;  // outputs whose gradients come here, in the order of the node's inputs
  at::ThreadLocalState state_;      // autocast
};

}  // namespace

nn::Tensors recomputed(const nn::UnitRunner::Body& body, const nn::Tensors& inputs) {
  if (std::none_of(inputs.begin(), inputs.end(), needs_gradient)) return body(inputs);
  const auto node = std::shared_ptr<Recompute>(new Recompute(body, inputs), torch::autograd::deleteNode);
  node->set_next_edges(torch::autograd::collect_next_edges(inputs));
  nn::Tensors outputs;
  {
    const at::NoGradGuard no_grad;
    const NoAutocastCache no_cache;
    outputs = body(inputs);
  }
  node->give(outputs, inputs, node);
  return outputs;
}

}  // namespace cohort::shard
