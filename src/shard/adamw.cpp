#include "adamw.h"

#include <utility>

#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>

namespace cohort::shard {

AdamW::AdamW(std::span<FlatShard> all_shards, const OptimizerConfig& options, SquaredNorms norms,
             const Rules& rules)
    : Optimizer(all_shards, options, std::move(norms), rules.steps_per_epoch),
      groups_(parameter_groups(all_shards, options.layer_decay, rules.rules)),
      mean_(zeros_like_trained(all_shards)),
      mean_square_(zeros_like_trained(all_shards)) {}

void AdamW::update(double lr, double weight_decay) {
  const std::vector<at::Tensor> values = trained_values(shards()), gradients = trained_gradients(shards());
  for (const ParameterGroup& group : groups_) {
    const std::int64_t step = steps_since(group.first_epoch);
    if (step == 0) continue;
    const std::vector<at::Tensor> value = cut(group, values);
    const at::Tensor count = at::full({}, static_cast<double>(step), value.front().options());
    at::_fused_adamw_(value, cut(group, gradients), cut(group, mean_), cut(group, mean_square_), {},
                      std::vector<at::Tensor>(value.size(), count), lr * group.lr_scale, config().beta1,
                      config().beta2, group.weight_decay.value_or(weight_decay), config().epsilon, false,
                      false);
  }
}

std::vector<Optimizer::State> AdamW::states() noexcept {
  return {{"exp_avg", mean_}, {"exp_avg_sq", mean_square_}};
}

}  // namespace cohort::shard
