#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/mesh.h"
#include "cohort/config/field.h"
#include "cohort/nn/unit.h"

namespace cohort::nn {
class UnitModel;
}

namespace cohort::shard {

/// How parameters, gradients and optimizer state lie on the ranks.
enum class Strategy {
  replicate,  ///< a whole copy on every rank; gradients are all-reduced (data parallel)
  optimizer,  ///< parameters on every rank; gradients and optimizer state are divided (ZeRO-1, arXiv
              ///< 1910.02054)
  full,       ///< everything is divided; parameters are gathered unit by unit (FSDP, arXiv 2304.11277)
  hybrid,     ///< full within groups of shard_size ranks, replicated between them (HSDP)
};
std::span<const config::EnumName<Strategy>> enum_names(Strategy);

/// Number format of parameters or gradients on their way between ranks.
enum class WireType { fp32, bf16 };
std::span<const config::EnumName<WireType>> enum_names(WireType);

struct ShardingConfig {
  Strategy strategy = Strategy::replicate;
  std::int64_t shard_size = 0;
  bool reshard_after_forward = true;
  bool activation_checkpointing = false;
  WireType gather = WireType::fp32, reduce = WireType::fp32;

  template <class Visit>
  void fields(Visit& visit) {
    visit("strategy", strategy, "how parameters, gradients and optimizer state are divided over ranks");
    visit("shard_size", shard_size, "ranks that share a model under hybrid; 0: those of a node",
          config::Range<std::int64_t>{0, 1 << 20});
    visit("reshard_after_forward", reshard_after_forward,
          "free gathered parameters after the forward pass and gather them again: less memory, more "
          "communication");
    visit("activation_checkpointing", activation_checkpointing,
          "keep only the input of each block and compute the rest again in the backward pass");
    visit(
        "gather", gather,
        "number format in which blocks' matrices are gathered and computed with; bf16 needs precision=bf16");
    visit("reduce", reduce, "number format in which gradients travel; sums are formed in fp32");
  }
};

/// Where one parameter lies in the flat parameter of its unit. Between slots there may be padding: zeros in
/// value and gradient, which stay zero and which nothing outside shard/ sees.
struct ParameterSlot {
  std::string name;  ///< "blocks.3.attn.qkv.weight"
  std::vector<std::int64_t> shape;
  std::int64_t offset = 0;  ///< in values, from the start of the flat parameter
  int layer = 0;            ///< nn::UnitModel::layer_of()
};

/// This rank's slice of a flat parameter: what optimizers, clipping, EMA and checkpoints work on. 1-D.
struct FlatShard {
  std::vector<ParameterSlot> slots;  ///< of the whole flat parameter, by offset; matrices first
  std::int64_t begin = 0;         ///< of the slice within the flat parameter, in values, a multiple of 1024
  bool trained = true;            ///< false: frozen, without a gradient
  int replica = 0, replicas = 1;  ///< `replicas` ranks hold this same slice; this is number `replica`
  at::Tensor value;               ///< [n] f32
  at::Tensor gradient;  ///< [n] f32, summed over all ranks; final after the step's last finish_backward()
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

/// Owns the parameters of a model as flat tensors, one for each unit and kind, cut into shards. A unit's
/// parameters are gathered shortly before it computes (the next unit's at the same time) and freed after; its
/// gradients are reduced while the backward pass goes on. Strategies differ in what stays where, not in
/// results. One thread at a time.
///
/// A step: begin_step(n); n times a forward pass, backward() and finish_backward(); norms, an optimizer's
/// step() on the shards, parameters_changed(). The gradient of a step is the sum over its backward passes and
/// over all ranks, never a mean: the loss divides by what it wants to be averaged over. A parameter that took
/// no part in the loss of any rank has a gradient of zero. Every rank runs the same forward and backward
/// passes.
class ShardedModel final : public nn::UnitRunner {
 public:
  /// Writes the first values of the parameter of this name (f32, its shape, on the CPU).
  using Fill = std::function<void(const std::string& name, at::Tensor& values)>;

  struct Options {
    ShardingConfig config = {};
    c10::Device device = c10::DeviceType::CPU;
    /// Same bits on any number of ranks: gradients are summed in fp32 in the order of a tree over all
    /// backward passes of all ranks.
    bool reproducible = false;
    /// Reduce after each backward pass instead of after the last: less memory, more communication.
    bool reduce_every_pass = false;
    /// Called on rank 0 alone. Empty: the model's own values, those of rank 0, are taken. With it, the
    /// parameters may come without memory (nn::discard_values), so that no rank ever holds the whole model.
    Fill fill = {};
  };

  /// Collective. Takes the parameters and buffers of `model` over: they move to options.device, parameters
  /// become views of the flat ones, whose storage must not be replaced (to(), set_data()), and which have
  /// values only while their unit runs. Their .grad stays undefined: gradients are in the shards.
  /// model->use(*this) has been called. `mesh` outlives this. Parameters are f32, else Bug; ranks whose
  /// models differ in names or shapes: Bug. Throws what fill throws, on every rank.
  ShardedModel(std::shared_ptr<nn::UnitModel> model, Options options, comm::DeviceMesh& mesh);
  ~ShardedModel() override;

  void begin(std::size_t first_unit) override;
  /// Bug when the model has not begun a forward pass since the step began, ended or changed parameters.
  nn::Tensors run(std::size_t unit, const nn::Tensors& inputs, const Body& body) override;
  [[nodiscard]] bool is_collective() const noexcept override;

  /// Starts a step of `backward_passes` backward passes, as many on every rank.
  void begin_step(int backward_passes = 1);
  /// Collective; after every backward pass. The last one of a step returns when the shards' gradients are
  /// final.
  void finish_backward();
  /// Not collective. A number for the units that ran with gradients since this was called last, and for
  /// their order: ranks whose numbers differ have computed other graphs, so that their sums are worthless.
  std::uint64_t take_calls() noexcept;
  /// After the shards' values were changed: whole parameters are gathered again before their next use.
  void parameters_changed() noexcept;
  /// Not collective. From now on, or no longer, looks at each gradient as the backward pass makes it, before
  /// it is reduced: to find out where numbers go wrong.
  void watch_gradients(bool on);
  /// Not collective. The first parameter whose gradient on this rank was not finite since
  /// watch_gradients(true); empty: none.
  [[nodiscard]] std::string first_bad_gradient() const;
  /// Time spent waiting for other ranks since the last call of this function.
  std::chrono::duration<double> take_wait() noexcept;

  /// In the order of the forward pass; those of the root unit are the last.
  [[nodiscard]] std::span<FlatShard> shards() noexcept;
  /// Collective. The sum of squares of each whole parameter in `values`, one tensor parallel to each shard's
  /// value (undefined: none); [shard][slot]. In fp64, in an order that does not depend on the number of
  /// ranks. NaN or infinity where a value is.
  std::vector<std::vector<double>> squared_norms(std::span<const at::Tensor> values);
  /// Collective. L2 norm of all gradients, from squared_norms().
  double gradient_norm();
  /// Collective. All values of the flat parameter that shards()[index] is a slice of, f32, on every rank.
  [[nodiscard]] at::Tensor gathered(std::size_t index);
  /// Collective. Calls `visit` with every parameter, whole and in f32, on rank 0; others help. One unit at a
  /// time is in memory.
  void for_each_parameter(
      const std::function<void(const std::string& name, const at::Tensor& values)>& visit);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// How many ranks share one copy of the model. Collective. Throws UsageError (hybrid: shard_size does not
/// divide the ranks).
int shards_of(const ShardingConfig& config, const comm::Communicator& ranks);

}  // namespace cohort::shard
