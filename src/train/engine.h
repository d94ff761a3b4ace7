#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "cohort/comm/mesh.h"
#include "cohort/data/signature.h"
#include "cohort/method/method.h"
#include "cohort/nn/step_state.h"
#include "cohort/shard/optimizer.h"
#include "cohort/shard/sharded_model.h"
#include "cohort/train/run_config.h"

#include "train/state.h"

namespace cohort::train {

/// A method's parts, each on this rank's shards, and the optimizer of the trained one. One step:
/// begin_step(n), n times a loss, its backward() and finish_backward(), clip_gradients(), update(),
/// after_step(). One thread at a time. Calls are collective unless they say otherwise.
class Engine {
 public:
  /// Parts, which freeze() has prepared, get their first values (first_values()). `method` and `ranks`
  /// outlive this. Throws UsageError or DataError, the same on every rank (sharding.shard_size;
  /// model.weights). `signature`: what the parts are trained on.
  Engine(const RunConfig& config, method::Method& method, const data::Signature& signature, at::Device device,
         std::int64_t steps_per_epoch, comm::Communicator& ranks);

  void begin_step(std::int64_t backward_passes);
  void finish_backward();
  /// L2 norm of all gradients before clipping.
  double clip_gradients();
  /// Moves the trained part. Returns the learning rate. `reductions`: Plateau's.
  double update(const method::Step& step, double gradient_norm, std::int64_t reductions = 0);
  /// After update(): running statistics move, the other parts follow the trained one, then
  /// Method::after_step().
  void after_step(const method::Step& step);
  /// Instead of update(): the step leaves no trace in the weights. `steps_done`: with this one.
  void skip(std::int64_t steps_done) noexcept { optimizer_->set_steps(steps_done); }
  /// Not collective. ShardedModel's, for the trained part.
  std::uint64_t take_calls() noexcept { return trained_->model.take_calls(); }
  void watch_gradients(bool on) { trained_->model.watch_gradients(on); }
  [[nodiscard]] std::string first_bad_gradient() { return trained_->model.first_bad_gradient(); }
  /// Not collective. Time spent waiting for other ranks since the last call.
  std::chrono::duration<double> take_wait() noexcept;
  /// Not collective.
  [[nodiscard]] TrainingState state();

 private:
  struct ShardedPart {
    ShardedPart(method::Part which, shard::ShardedModel::Options options, comm::DeviceMesh& mesh);
    method::Part part;
    ShardedPart* followed = nullptr;  ///< of a part that follows
    shard::ShardedModel model;
    nn::StepStates step_states;
  };
  [[nodiscard]] ShardedPart& named(const std::string& name);

  const RunConfig config_;
  method::Method& method_;
  comm::DeviceMesh mesh_;
  std::int64_t steps_per_epoch_;
  std::deque<ShardedPart> parts_;  // ShardedModel does not move
  ShardedPart* trained_;
  std::unique_ptr<shard::Optimizer> optimizer_;
};

}  // namespace cohort::train
