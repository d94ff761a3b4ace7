#pragma once
#include <memory>
#include <string>
#include <vector>

#include <torch/nn/module.h>

#include "cohort/nn/unit.h"

namespace cohort::nn {

/// A model made of units: what the sharded engine can hold. Some are its own, others those of its towers,
/// models that it is made of (an encoder and a decoder, one for images and one for text). Parameters outside
/// all units (cls token, position embedding, final norm, head) form the root unit. The graph of a forward
/// pass is free: skip connections, a tower that runs twice, units that run in another order or not at all.
///
/// It must be the same on every rank: never branch on data, multiply by zero instead.
class UnitModel : public torch::nn::Module {
 public:
  using Units = std::vector<std::vector<std::shared_ptr<torch::nn::Module>>>;

  /// Modules of each unit: own ones, then those of towers, as they were added. Runners count like this.
  [[nodiscard]] Units units() const;
  [[nodiscard]] std::size_t unit_count() const noexcept;
  /// How deep a parameter stands, for learning rates that depend on it: 0 before the units, i + 1 in unit i,
  /// last_layer() behind them; in a tower what the tower says.
  [[nodiscard]] int layer_of(const std::string& parameter) const;
  /// Of the deepest tower, or own units + 1.
  [[nodiscard]] int last_layer() const;

  /// `runner` outlives the model's use of it. Until this is called the model runs its units itself. Towers
  /// use it too, counting their units from their place in this model. Units of a model that is a tower are
  /// counted from `first_unit`.
  void use(UnitRunner& runner, std::size_t first_unit = 0) noexcept;
  [[nodiscard]] UnitRunner& runner() const noexcept { return *runner_; }
  [[nodiscard]] std::size_t first_unit() const noexcept { return first_unit_; }

 protected:
  /// In the order in which they usually run. Returns the number of the unit, counted from 0.
  std::size_t add_unit(std::vector<std::shared_ptr<torch::nn::Module>> modules);
  /// Registers `tower` under `name`. Before the model is used.
  template <class Tower>
  std::shared_ptr<Tower> add_tower(const std::string& name, std::shared_ptr<Tower> tower) {
    register_module(name, tower);
    towers_.push_back({name + ".", tower});
    return tower;
  }
  /// At the start of every forward pass, before anything else; a model of towers alone leaves it to them.
  void begin() const { runner_->begin(first_unit_); }
  /// UnitRunner::run() of an own unit.
  Tensors run(std::size_t unit, const Tensors& inputs, const UnitRunner::Body& body) const;
  at::Tensor run(std::size_t unit, const at::Tensor& input,
                 const std::function<at::Tensor(const at::Tensor&)>& body) const;
  /// layer_of() of a parameter that is of no tower; without more it stands behind the units.
  [[nodiscard]] virtual int own_layer_of(const std::string& parameter) const;

 private:
  struct Tower {
    std::string prefix;  ///< of its parameters: "encoder."
    std::shared_ptr<UnitModel> model;
  };
  Units own_units_;
  std::vector<Tower> towers_;
  UnitRunner plain_runner_;
  UnitRunner* runner_ = &plain_runner_;
  std::size_t first_unit_ = 0;
};

/// How names of `inner`'s parameters begin in those of `whole`, which it is a module of, or is itself:
/// "backbone.", "".
std::string path_of(const torch::nn::Module& whole, const torch::nn::Module& inner);

/// Frees the memory of all parameters of `module`; shapes and names stay. For a model whose values come
/// later, unit by unit (shard::ShardedModel).
void discard_values(torch::nn::Module& module);

}  // namespace cohort::nn
