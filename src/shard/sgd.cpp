#include "sgd.h"

#include <utility>

#include <ATen/ops/_fused_sgd.h>

namespace cohort::shard {

Sgd::Sgd(std::span<FlatShard> all_shards, const OptimizerConfig& options, SquaredNorms norms,
         const Rules& rules)
    : Optimizer(all_shards, options, std::move(norms), rules.steps_per_epoch),
      groups_(parameter_groups(all_shards, options.layer_decay, rules.rules)) {
  if (options.momentum > 0.0) momentum_ = zeros_like_trained(all_shards);
}

void Sgd::update(double lr, double weight_decay) {
  descend(lr, weight_decay);
}

void Sgd::descend(double lr, std::optional<double> weight_decay) {
  const std::vector<at::Tensor> values = trained_values(shards()), gradients = trained_gradients(shards());
  for (const ParameterGroup& group : groups_) {
    if (steps_since(group.first_epoch) == 0) continue;
    const double decay = weight_decay ? group.weight_decay.value_or(*weight_decay) : 0.0;
    const std::vector<at::Tensor> momentum =
        momentum_.empty() ? std::vector<at::Tensor>() : cut(group, momentum_);
    // A buffer of zeros makes the first step like any other.
    constexpr double kDampening = 0.0;
    constexpr bool kNesterov = false, kMaximize = false, kFirstStep = false;
    at::_fused_sgd_(cut(group, values), cut(group, gradients), momentum, decay, config().momentum,
                    lr * group.lr_scale, kDampening, kNesterov, kMaximize, kFirstStep);
  }
}

std::vector<Optimizer::State> Sgd::states() noexcept {
  if (momentum_.empty()) return {};
  return {{"momentum_buffer", momentum_}};
}

}  // namespace cohort::shard
