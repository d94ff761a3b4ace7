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

/// Where one parameter lies in the flat parameter of its unit.
struct ParameterSlot {
  std::string name;                 ///< "blocks.3.attn.qkv.weight"
  std::vector<std::int64_t> shape;
  std::int64_t offset;              ///< in values, from the start of the flat parameter
};

/// This rank's slice of a unit: what optimizers, clipping, EMA and checkpoints work on. 1-D.
struct FlatShard {
  std::vector<ParameterSlot> slots;  ///< of the whole unit, by offset; matrices first, so that decay is one range
  std::int64_t begin = 0;            ///< of the slice within the unit, in values
  std::int64_t decayed = 0;          ///< values of the unit before this offset belong to parameters of 2 or more dimensions
  at::Tensor value;                  ///< [n] f32
  at::Tensor gradient;               ///< [n] f32, summed over all ranks; final after finish_backward()
};

/// Owns the parameters of a model as one flat buffer per unit and reduces their gradients over the ranks while the backward
/// pass still computes: as soon as the last gradient of a unit is there, its all-reduce starts.
/// Gradients add up over backward passes until zero_gradients().
class ShardedModel final : public nn::UnitRunner {
 public:
  /// Collective. Takes the parameters of `model` over: from here on they are views of the flat buffers. Parameters of rank 0 are
  /// broadcast, so that all ranks start alike. Frozen parameters (requires_grad false) are kept out.
  ShardedModel(std::shared_ptr<nn::UnitModel> model, const ShardingConfig& config, comm::Communicator& ranks);
  ~ShardedModel() override;

  at::Tensor run(std::size_t index, const at::Tensor& input, const Body& body) override;
  void zero_gradients();
  /// Collective. Waits for the last reduction; call once per step, after backward. Units whose parameters took no part in the
  /// loss are reduced here (their gradient is that of the other ranks, or zero).
  void finish_backward();
  /// Time finish_backward() has waited for other ranks since the last call of this function.
  std::chrono::duration<double> take_wait() noexcept;
  [[nodiscard]] std::span<FlatShard> shards() noexcept;
  /// Collective. L2 norm of all gradients, accumulated in fp64 in the order of the slots; valid after finish_backward().
  double gradient_norm();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cohort::shard
