#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "cohort/comm/mesh.h"
#include "cohort/nn/vit.h"
#include "cohort/shard/optimizer.h"
#include "cohort/shard/sharded_model.h"

#include "table.h"

namespace cohort::perf {

struct EngineOptions {
  std::string model = "vit_small";
  std::int64_t patch = 8, image = 96;
  std::int64_t images = 16;        ///< in a batch, on each rank
  std::int64_t micro_batches = 1;  ///< that the batch is cut into
  std::int64_t steps = 5;
  bool bf16 = false, reproducible = false;
  bool context = false;  ///< all images are of one context, which a token stands for
  shard::ShardingConfig sharding;
  Output output;
};

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
