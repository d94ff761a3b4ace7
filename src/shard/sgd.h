#pragma once
#include <vector>

#include "cohort/shard/optimizer.h"

#include "parameter_groups.h"

namespace cohort::shard {

/// Stochastic gradient descent with momentum as torch.optim.SGD forms it, with ATen's fused kernel.
class Sgd : public Optimizer {
 public:
  Sgd(std::span<FlatShard> shards, const OptimizerConfig& config, SquaredNorms squared_norms);
  /// None without momentum.
  [[nodiscard]] std::vector<State> states() noexcept override;

 protected:
  void update(double lr, double weight_decay) override;
  [[nodiscard]] const std::vector<ParameterGroup>& groups() const noexcept { return groups_; }

 private:
  std::vector<ParameterGroup> groups_;
  std::vector<at::Tensor> momentum_;
};

}  // namespace cohort::shard
