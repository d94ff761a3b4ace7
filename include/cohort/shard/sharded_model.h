#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/config/field.h"
#include "cohort/nn/unit.h"

namespace cohort::nn {
class UnitModel;
}

namespace cohort::shard {

/// How parameters, gradients and optimizer state lie on the ranks.
enum class Strategy {
  replicate,  ///< a whole copy on every rank; gradients are all-reduced
};
std::span<const config::EnumName<Strategy>> enum_names(Strategy);

struct ShardingConfig {
  Strategy strategy = Strategy::replicate;

  template <class Visit>
  void fields(Visit& visit) {
    visit("strategy", strategy, "how parameters, gradients and optimizer state are divided over ranks");
  }
};

/// Where one parameter lies in the flat parameter of its unit. Between slots there may be padding: zeros in
/// value and gradient, which stay zero and which nothing outside shard/ sees.
struct ParameterSlot {
  std::string name;  ///< "blocks.3.attn.qkv.weight"
  std::vector<std::int64_t> shape;
  std::int64_t offset = 0;  ///< in values, from the start of the flat parameter
};

/// This rank's slice of a unit: what optimizers, clipping, EMA and checkpoints work on. 1-D.
struct FlatShard {
  std::vector<ParameterSlot>
      slots;               ///< of the whole unit, by offset; matrices first, so that decay is one range
  std::int64_t begin = 0;  ///< of the slice within the unit, in values
  std::int64_t decayed =
      0;  ///< values of the unit before this offset belong to parameters of 2 or more dimensions
  int replica = 0,
      replicas = 1;     ///< `replicas` ranks hold this same slice; this rank is number `replica` of them
  at::Tensor value;     ///< [n] f32
  at::Tensor gradient;  ///< [n] f32, summed over all ranks; final after finish_backward()
};

/// Part of a parameter, or of a tensor that goes with it (a moment of the optimizer, an average).
struct NamedPiece {
  std::string name;                 ///< that of the parameter
  std::vector<std::int64_t> shape;  ///< of the whole parameter
  std::int64_t begin = 0;           ///< of the first value, in row-major order
  at::Tensor values;                ///< [m], a view: writing into it changes the tensor it was cut from
};

/// What this rank has to save of `values` [n], a tensor parallel to `shard.value`: the pieces of all ranks
/// together hold each value of each parameter exactly once. Ranks that hold the same slice save an even share
/// of every parameter each, which may be none of a small one.
std::vector<NamedPiece> pieces_to_save(const FlatShard& shard, const at::Tensor& values);

/// All that this rank holds of `values` [n]: what has to be filled when a checkpoint is loaded.
std::vector<NamedPiece> pieces_to_load(const FlatShard& shard, const at::Tensor& values);

/// Owns the parameters of a model as one flat buffer per unit and reduces their gradients over the ranks
/// while the backward pass still computes: as soon as the last gradient of a unit is there, its all-reduce
/// starts. One thread at a time.
///
/// A step: zero_gradients(), one or more backward passes, finish_backward(), gradient_norm(), an optimizer's
/// step(). The gradient of a step is the sum over its backward passes and over all ranks, never a mean: the
/// loss divides by what it wants to be averaged over. A parameter that took no part in the loss of any rank
/// has a gradient of zero.
class ShardedModel final : public nn::UnitRunner {
 public:
  /// Collective. Takes the parameters of `model` over: from here on they are views of the flat buffers, they
  /// and their .grad must not be replaced (zero_grad(), to(), set_data()), and model->use(*this) has been
  /// called. Parameters and buffers of rank 0 are broadcast, so that all ranks start alike. Frozen parameters
  /// (requires_grad false) stay where they are. `ranks` is needed during construction only: gradients travel
  /// on a duplicate named "gradients". Trained parameters are f32 on one device, else Bug; ranks whose models
  /// differ in names or shapes: Bug.
  ShardedModel(std::shared_ptr<nn::UnitModel> model, const ShardingConfig& config, comm::Communicator& ranks);
  ~ShardedModel() override;

  at::Tensor run(std::size_t index, const at::Tensor& input, const Body& body) override;
  /// Starts a step of `backward_passes` backward passes; gradients are reduced during the last of them only.
  void zero_gradients(int backward_passes = 1);
  /// Collective. Waits for the last reduction; call once per step, after its backward passes. Units that hold
  /// parameters without a part in this rank's loss are reduced here. A backward pass between this and
  /// zero_gradients() throws Bug.
  void finish_backward();
  /// Time finish_backward() has waited for other ranks since the last call of this function.
  std::chrono::duration<double> take_wait() noexcept;
  /// One per unit with trained parameters, in the order of the forward pass; the root unit is the last.
  [[nodiscard]] std::span<FlatShard> shards() noexcept;
  /// Collective. L2 norm of all gradients, accumulated in fp64 in an order that does not depend on ranks or
  /// threads; valid after finish_backward(). NaN or infinity when a gradient is.
  double gradient_norm();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cohort::shard
