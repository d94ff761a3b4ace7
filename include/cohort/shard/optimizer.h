#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cohort/config/field.h"
#include "cohort/nn/parameter_rule.h"
#include "cohort/shard/sharded_model.h"

namespace cohort::shard {

/// Those of the table in optimizer.cpp, a line each; the first is the default.
std::vector<std::string> optimizer_names();
/// Values of state that an optimizer keeps for each value of a parameter: AdamW 2, SGD and LARS 1.
int states_of_optimizer(std::string_view name);

/// What optimizer.clip_norm bounds.
enum class ClipScope {
  global,     ///< the norm of all gradients together
  parameter,  ///< the norm of each parameter's gradient, as DINO does
};
std::span<const config::EnumName<ClipScope>> enum_names(ClipScope);

struct OptimizerConfig {
  std::string name = "adamw";
  double lr = 5e-4;
  double layer_decay = 1.0;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double momentum = 0.9;
  double weight_decay = 0.05;
  double clip_norm = 0.0;
  ClipScope clip = ClipScope::global;
  std::vector<std::string> frozen{}, lr_of{}, no_weight_decay{};

  template <class Visit>
  void fields(Visit& visit) {
    visit.choice("name", name, optimizer_names(),
                 "rule that updates parameters; formulas in docs/optimizers.md");
    visit("lr", lr, "peak learning rate", config::Range{0.0, 10.0});
    visit("layer_decay", layer_decay,
          "learning rate of a layer relative to that of the layer behind it; the head has the full one",
          config::Range{0.01, 1.0});
    visit("beta1", beta1, "adamw: decay of the gradient's running mean", config::Range{0.0, 0.9999999});
    visit("beta2", beta2, "adamw: decay of the squared gradient's running mean",
          config::Range{0.0, 0.9999999});
    visit("epsilon", epsilon, "adamw: added to the root of the second moment", config::Range{1e-20, 1.0});
    visit("momentum", momentum, "sgd, lars: decay of the running sum of updates",
          config::Range{0.0, 0.9999999});
    visit("weight_decay", weight_decay,
          "weight decay of parameters of 2 or more dimensions but biases; adamw: decoupled from the gradient",
          config::Range{0.0, 1.0});
    visit("clip_norm", clip_norm, "largest norm of gradients; 0: no clipping", config::Range{0.0, 1e6});
    visit("clip", clip, "whether clip_norm bounds all gradients together or those of each parameter");
    visit("frozen", frozen,
          "parameters that keep their first values, as patterns of their names (docs/optimizers.md), "
          "[blocks.0.*]; encoder: all but those of the head");
    visit("lr_of", lr_of, "factors of the learning rate of parameters, as PATTERN=FACTOR; [\"head.*=10\"]");
    visit("no_weight_decay", no_weight_decay,
          "parameters without weight decay, besides vectors and biases, as patterns; [cls_token, pos_embed]");
  }
};

/// What optimizer.frozen, lr_of and no_weight_decay say. Throws UsageError (lr_of).
std::vector<nn::ParameterRule> configured_rules(const OptimizerConfig& config);

/// How parameters of a model are trained, by name. Those that are not trained have no shards that are.
struct Rules {
  std::vector<nn::ParameterRule> rules{};
  std::int64_t steps_per_epoch = 1;
};

/// Sums of squares of whole parameters, over all ranks: ShardedModel::squared_norms(). `values`: one tensor
/// parallel to each shard's value, or an undefined one; result: [shard][slot]. Collective.
using SquaredNorms = std::function<std::vector<std::vector<double>>(std::span<const at::Tensor> values)>;

/// Updates parameters on this rank's shards. Formulas and sources: docs/optimizers.md.
///
/// A step: clip_gradients(), then step(). Both change gradients in place. Frozen shards are left alone, and
/// so are parameters before the first epoch of their rule: no step, no decay, no running means; their own
/// count of updates begins afterwards (as parameters without .grad in torch.optim). Another parameter without
/// a gradient in a step counts as one with gradient zero: running means fade and decay applies, as in
/// distributed data parallel training; torch.optim on one process would leave it alone.
///
/// Results do not depend on how flat parameters are cut into shards, bit for bit, as long as shards begin at
/// multiples of 16 values, as FlatShard promises: ATen's fused kernels round differently in the rest of a
/// range that does not fill a vector.
class Optimizer {
 public:
  struct State {
    std::string name;                ///< "exp_avg", "exp_avg_sq"; "momentum_buffer"
    std::span<at::Tensor> of_shard;  ///< [n] f32, one per shard; undefined for frozen shards
  };

  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;
  virtual ~Optimizer() = default;

  /// Collective. Scales gradients whose norm is above clip_norm by clip_norm / (norm + 1e-6), if below 1.
  /// Returns the L2 norm of all gradients as it was before. A norm that is not finite: changes nothing.
  double clip_gradients();
  /// Updates the parameters; `lr` is the learning rate of the last layer. Collective under lars. Throws
  /// NumericalError when `gradient_norm`, that of clip_gradients(), is not finite: nothing is changed then.
  void step(double lr, double weight_decay, double gradient_norm);

  /// What a checkpoint has to keep besides steps(); zero at first. Valid as long as the optimizer.
  [[nodiscard]] virtual std::vector<State> states() noexcept = 0;
  [[nodiscard]] std::int64_t steps() const noexcept { return steps_; }
  void set_steps(std::int64_t steps) noexcept { steps_ = steps; }
  [[nodiscard]] std::span<FlatShard> shards() const noexcept { return shards_; }

 protected:
  Optimizer(std::span<FlatShard> shards, const OptimizerConfig& config, SquaredNorms squared_norms,
            std::int64_t steps_per_epoch);

  /// Updates so far, this one included, of what is trained from this epoch on.
  [[nodiscard]] std::int64_t steps_since(std::int64_t first_epoch) const noexcept {
    return std::max<std::int64_t>(steps_ - first_epoch * steps_per_epoch_, 0);
  }
  [[nodiscard]] const OptimizerConfig& config() const noexcept { return config_; }
  [[nodiscard]] const SquaredNorms& squared_norms() const noexcept { return squared_norms_; }

 private:
  /// steps() counts this update already.
  virtual void update(double lr, double weight_decay) = 0;

  std::span<FlatShard> shards_;
  OptimizerConfig config_;
  SquaredNorms squared_norms_;
  std::int64_t steps_per_epoch_;
  std::int64_t steps_ = 0;
};

/// The optimizer that config.name names. `shards` outlive it.
std::unique_ptr<Optimizer> make_optimizer(std::span<FlatShard> shards, const OptimizerConfig& config,
                                          SquaredNorms squared_norms, const Rules& rules = {});

}  // namespace cohort::shard
