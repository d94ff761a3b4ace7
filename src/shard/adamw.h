#pragma once
#include <vector>

#include "cohort/shard/optimizer.h"

#include "parameter_groups.h"

namespace cohort::shard {

/// Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, with ATen's fused kernel.
class AdamW final : public Optimizer {
 public:
  AdamW(std::span<FlatShard> shards, const OptimizerConfig& config, SquaredNorms squared_norms,
        const Rules& rules);
  [[nodiscard]] std::vector<State> states() noexcept override;

 private:
  void update(double lr, double weight_decay) override;

  std::vector<ParameterGroup> groups_;
  std::vector<at::Tensor> mean_, mean_square_;
};

}  // namespace cohort::shard
