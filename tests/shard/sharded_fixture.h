#pragma once
#include <algorithm>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cohort/shard/sharded_model.h"

#include "support/ranks.h"
#include "tiny_model.h"

namespace cohort::shard {

/// Every strategy, and the switches that change how it works.
inline std::vector<ShardingConfig> sharding_cases() {
  using enum Strategy;
  return {{.strategy = replicate},
          {.strategy = optimizer},
          {.strategy = full},
          {.strategy = full, .reshard_after_forward = false},
          {.strategy = full, .activation_checkpointing = true},
          {.strategy = hybrid, .shard_size = 2},
          {.strategy = replicate, .activation_checkpointing = true}};
}

inline std::string case_name(const ::testing::TestParamInfo<ShardingConfig>& info) {
  const ShardingConfig& config = info.param;
  std::string name(config::enum_name(config.strategy));
  if (!config.reshard_after_forward) name += "_kept";
  if (config.activation_checkpointing) name += "_recomputed";
  return name;
}

inline std::ostream& operator<<(std::ostream& out, const ShardingConfig& config) {
  return out << config::enum_name(config.strategy);
}

using Tensors = std::map<std::string, at::Tensor>;

/// Whole gradients by name, on every rank, from the shards of all ranks.
inline Tensors gradients_of(ShardedModel& sharded, comm::DeviceMesh& mesh) {
  Tensors result;
  for (const FlatShard& shard : sharded.shards()) {
    if (!shard.trained) continue;
    at::Tensor whole = at::empty({shard.gradient.numel() * mesh.shards()});
    mesh.gradients().all_gather(whole, shard.gradient).wait();
    for (const ParameterSlot& slot : shard.slots) {
      const std::int64_t count = c10::multiply_integers(slot.shape);
      result[slot.name] = whole.narrow(0, slot.offset, count).view(slot.shape);
    }
  }
  return result;
}

/// Whole parameters by name, on rank 0.
inline Tensors parameters_of(ShardedModel& sharded) {
  Tensors result;
  sharded.for_each_parameter(
      [&](const std::string& name, const at::Tensor& values) { result[name] = values.clone(); });
  return result;
}

class ShardedModelTest : public ::testing::TestWithParam<ShardingConfig> {
 protected:
  static constexpr double kRate = 1e-3;

  // Ranks begin with different numbers: what they agree on comes from rank 0.
  ShardedModelTest()
      : ranks_(test::world()),
        mesh_(ranks_, shards()),
        model_(std::make_shared<TinyModel>(1.0 + ranks_.rank())) {}

  // Two ranks share a model in the hybrid case, if there is an even number of them.
  [[nodiscard]] int shards() const {
    if (GetParam().strategy == Strategy::hybrid && ranks_.size() % 2 != 0) return 1;
    return shards_of(GetParam(), ranks_);
  }

  ShardedModel make() { return ShardedModel(model_, {.config = GetParam()}, mesh_); }

  // A model of rank 0's numbers that no engine touches, on every rank.
  static std::shared_ptr<TinyModel> reference() { return std::make_shared<TinyModel>(1.0); }

  void backward(ShardedModel& sharded, const at::Tensor& images) {
    model_->loss(images).backward();
    sharded.finish_backward();
  }

  static void descend(ShardedModel& sharded) {
    const at::NoGradGuard no_grad;
    for (FlatShard& shard : sharded.shards()) {
      if (shard.trained) shard.value.sub_(shard.gradient, kRate);
    }
    sharded.parameters_changed();
  }

  Tensors gradients_of(ShardedModel& sharded) { return shard::gradients_of(sharded, mesh_); }

  static Tensors gradients_of(const TinyModel& model) {
    Tensors result;
    for (const auto& item : model.named_parameters()) {
      const at::Tensor& p = item.value();
      if (p.requires_grad()) result[item.key()] = p.grad().defined() ? p.grad() : at::zeros_like(p);
    }
    return result;
  }

  // fp32 sums of a few terms in another order: some units in the last place of the largest gradient.
  static void expect_close(const Tensors& actual, const Tensors& wanted) {
    EXPECT_EQ(actual.size(), wanted.size());
    for (const auto& [name, gradient] : actual) {
      const at::Tensor& other = wanted.at(name);
      const double scale = std::max(1e-3, other.abs().max().item<double>());
      EXPECT_LE((gradient - other).abs().max().item<double>(), 4e-6 * scale) << name;
    }
  }

  comm::Communicator ranks_;
  comm::DeviceMesh mesh_;
  std::shared_ptr<TinyModel> model_;
};

}  // namespace cohort::shard
