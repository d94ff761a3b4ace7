#pragma once
#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>

#include "cohort/comm/mesh.h"
#include "cohort/nn/vit.h"
#include "cohort/shard/optimizer.h"
#include "cohort/shard/sharded_model.h"

#include "benchmarks.h"

namespace cohort::perf {

/// Supervised training of a vision transformer on images that stay in memory, all of one context. Calls are
/// collective.
class PlainTraining {
 public:
  PlainTraining(const EngineOptions& options, comm::Communicator& ranks);
  /// Seconds, of which `wait` for other ranks.
  double step(double& wait);
  /// What this rank has to hold, in MiB: values, gradients and two moments of its shard; the rest of the
  /// values if they stay; and, when there is more than one shard, the two largest units on their way: values,
  /// if they do not stay, and gradients.
  [[nodiscard]] double state_mib();
  [[nodiscard]] const nn::VitShape& shape() const { return model_->shape(); }

 private:
  void backward(const at::Tensor& sample);

  EngineOptions options_;
  comm::DeviceMesh mesh_;
  std::shared_ptr<nn::VisionTransformer> model_;
  shard::ShardedModel sharded_;
  std::unique_ptr<shard::Optimizer> optimizer_;
  at::Tensor images_, labels_;
  nn::Conditions conditions_;
};

}  // namespace cohort::perf
