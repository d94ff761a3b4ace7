#include "lars.h"

#include <cmath>

#include <ATen/ops/mul.h>

namespace cohort::shard {
namespace {

constexpr double kTrust = 0.001;

}  // namespace

void Lars::update(double lr, double weight_decay) {
  add_decay(weight_decay);
  adapt();
  descend(lr, std::nullopt);
}

void Lars::add_decay(double weight_decay) {
  const std::vector<at::Tensor> values = trained_values(shards()), gradients = trained_gradients(shards());
  for (const ParameterGroup& group : groups()) {
    const double decay = group.weight_decay.value_or(weight_decay);
    if (decay == 0.0) continue;
    const std::vector<at::Tensor> value = cut(group, values), gradient = cut(group, gradients);
    // Two operations that round once each: the same bits wherever a value lies in its shard.
    for (std::size_t i = 0; i < value.size(); ++i) gradient[i].add_(at::mul(value[i], decay));
  }
}

void Lars::adapt() {
  const auto of_values = squared_norms()(trained_values(shards()));
  auto factors = squared_norms()(trained_gradients(shards()));
  for (std::size_t i = 0; i < factors.size(); ++i) {
    for (std::size_t s = 0; s < factors[i].size(); ++s) {
      const double value = of_values[i][s], update = factors[i][s];
      const bool adapted = is_matrix(shards()[i].slots[s]) && value > 0.0 && update > 0.0;
      factors[i][s] = adapted ? kTrust * std::sqrt(value) / std::sqrt(update) : 1.0;
    }
  }
  scale_gradients(shards(), factors);
}

}  // namespace cohort::shard
