#pragma once
#include <optional>
#include <vector>

#include "cohort/shard/optimizer.h"

#include "parameter_groups.h"

namespace cohort::shard {

/// Stochastic gradient descent with momentum as torch.optim.SGD forms it, with ATen's fused kernel.
class Sgd : public Optimizer {
 public:
  Sgd(std::span<FlatShard> shards, const OptimizerConfig& config, SquaredNorms squared_norms,
      const Rules& rules);
  /// None without momentum.
  [[nodiscard]] std::vector<State> states() noexcept override;

 protected:
  void update(double lr, double weight_decay) override;
  /// `weight_decay`: nothing where gradients have theirs already.
  void descend(double lr, std::optional<double> weight_decay);
  [[nodiscard]] const std::vector<ParameterGroup>& groups() const noexcept { return groups_; }

 private:
  std::vector<ParameterGroup> groups_;
  std::vector<at::Tensor> momentum_;
};

}  // namespace cohort::shard
