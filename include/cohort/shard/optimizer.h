#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cohort/config/field.h"
#include "cohort/shard/sharded_model.h"

namespace cohort::shard {

struct OptimizerConfig {
  double lr = 5e-4;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double weight_decay = 0.05;
  double clip_norm = 0.0;

  template <class Visit>
  void fields(Visit& visit) {
    visit("lr", lr, "peak learning rate", config::Range{0.0, 10.0});
    visit("beta1", beta1, "decay of the gradient's running mean", config::Range{0.0, 0.9999999});
    visit("beta2", beta2, "decay of the squared gradient's running mean", config::Range{0.0, 0.9999999});
    visit("epsilon", epsilon, "added to the root of the second moment", config::Range{0.0, 1.0});
    visit("weight_decay", weight_decay, "decoupled weight decay of parameters of 2 or more dimensions",
          config::Range{0.0, 1.0});
    visit("clip_norm", clip_norm, "largest gradient norm over all parameters; 0: no clipping",
          config::Range{0.0, 1e6});
  }
};

/// AdamW (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2) on this rank's shards, with ATen's fused
/// kernel. 1-D parameters (biases, norms) are not decayed. State: two tensors of the length of each shard,
/// zero at first. A parameter without a gradient in a step counts as one with gradient zero: its moments fade
/// and decay applies, as in distributed data parallel training; torch.optim.AdamW on one process would leave
/// it alone.
class AdamW {
 public:
  /// `shards` outlive the optimizer.
  AdamW(std::span<FlatShard> shards, const OptimizerConfig& config);
  /// Scales gradients so that their norm is at most clip_norm (coefficient clip_norm / (norm + 1e-6), if
  /// below 1), then updates. Throws NumericalError when `gradient_norm` is not finite (the parameters are
  /// then unchanged).
  void step(double lr, double weight_decay, double gradient_norm);

  struct State {
    std::string name;                ///< "exp_avg", "exp_avg_sq"
    std::span<at::Tensor> of_shard;  ///< [n] f32, one per shard
  };
  [[nodiscard]] std::vector<State> states() noexcept;
  [[nodiscard]] std::int64_t steps() const noexcept { return steps_; }
  void set_steps(std::int64_t steps) noexcept { steps_ = steps; }

 private:
  void update(bool decayed, double lr, double weight_decay);

  std::span<FlatShard> shards_;
  OptimizerConfig config_;
  std::vector<at::Tensor> mean_, mean_square_;
  std::int64_t steps_ = 0;
};

}  // namespace cohort::shard
