#pragma once
#include <memory>
#include <vector>

#include <torch/nn/module.h>

#include "cohort/nn/unit.h"

namespace cohort::nn {

/// A model made of units that run one after another: what the sharded engine can hold. Parameters outside all
/// units (cls token, position embedding, final norm, head) form the root unit.
class UnitModel : public torch::nn::Module {
 public:
  /// Modules of each unit, in the order of the forward pass; unit i is run as runner.run(i, …).
  [[nodiscard]] virtual std::vector<std::vector<std::shared_ptr<torch::nn::Module>>> units() const = 0;
  /// `runner` outlives the model's use of it. Until this is called the model runs its units itself.
  virtual void use(UnitRunner& runner) = 0;
};

}  // namespace cohort::nn
