#include "cohort/nn/step_state.h"

#include <utility>

#include <ATen/ATen.h>
#include <torch/nn/module.h>

namespace cohort::nn {
namespace {

thread_local bool is_repeated = false;

}  // namespace

RepeatedPass::RepeatedPass() noexcept : before_(std::exchange(is_repeated, true)) {}

RepeatedPass::~RepeatedPass() {
  is_repeated = before_;
}

bool RepeatedPass::is_on() noexcept {
  return is_repeated;
}

StepStates::StepStates(torch::nn::Module& model) {
  for (const auto& module : model.modules(/*include_self=*/false)) {
    if (auto* state = dynamic_cast<StepState*>(module.get())) states_.push_back(state);
  }
}

void StepStates::begin_step() {
  for (StepState* state : states_) state->sums().zero_();
}

void StepStates::finish_step(comm::Communicator& ranks) {
  if (states_.empty()) return;
  std::vector<at::Tensor> sums;
  std::vector<std::int64_t> sizes;
  for (StepState* state : states_) {
    sums.push_back(state->sums());
    sizes.push_back(sums.back().numel());
  }
  const at::Tensor all = at::cat(sums);
  ranks.all_reduce(all).wait();
  const std::vector<at::Tensor> totals = all.split_with_sizes(sizes);
  for (std::size_t i = 0; i < states_.size(); ++i) {
    sums[i].copy_(totals[i]);
    states_[i]->finish_step();
  }
}

}  // namespace cohort::nn
