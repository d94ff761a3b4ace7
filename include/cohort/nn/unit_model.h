#pragma once
#include <memory>
#include <string>
#include <vector>

#include <torch/nn/module.h>

#include "cohort/nn/unit.h"

namespace cohort::nn {

/// A model made of units that run one after another: what the sharded engine can hold. Parameters outside all
/// units (cls token, position embedding, final norm, head) form the root unit.
class UnitModel : public torch::nn::Module {
 public:
  /// Modules of each unit, in the order of the forward pass; unit i is run as runner().run(i, …).
  [[nodiscard]] virtual std::vector<std::vector<std::shared_ptr<torch::nn::Module>>> units() const = 0;
  /// How deep a parameter stands, for learning rates that depend on it: 0 before the units, i + 1 in unit i,
  /// units + 1 behind them.
  [[nodiscard]] virtual int layer_of(const std::string& parameter) const = 0;

  /// `runner` outlives the model's use of it. Until this is called the model runs its units itself.
  virtual void use(UnitRunner& runner) noexcept { runner_ = &runner; }
  [[nodiscard]] UnitRunner& runner() const noexcept { return *runner_; }

 private:
  UnitRunner plain_runner_;
  UnitRunner* runner_ = &plain_runner_;
};

/// Frees the memory of all parameters of `module`; shapes and names stay. For a model whose values come
/// later, unit by unit (shard::ShardedModel).
void discard_values(torch::nn::Module& module);

}  // namespace cohort::nn
