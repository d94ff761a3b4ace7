#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cohort/shard/sharded_model.h"

namespace cohort::shard {

/// Values of one shard, padding included: begin and count are multiples of kAlignment.
struct Range {
  std::size_t shard = 0;
  std::int64_t begin = 0;  ///< within the shard
  std::int64_t count = 0;
};

/// What of all shards is updated alike.
struct ParameterGroup {
  double lr_scale = 1.0;
  bool decayed = false;
  bool held = false;  ///< Hold: not updated at first
  std::vector<Range> ranges;
};

[[nodiscard]] bool is_matrix(const ParameterSlot& slot) noexcept;

/// Trained values by learning rate, which is layer_decay^(last layer - layer) of that of the last layer, and
/// by weight decay: matrices that are not named a bias; and whether their names begin with `held` (empty:
/// none does). Neighbours of one kind are one range, so that a shard has two when layer_decay is 1. Bug when
/// a shard or a slot is not aligned.
std::vector<ParameterGroup> parameter_groups(std::span<const FlatShard> shards, double layer_decay,
                                             const std::string& held = "");

/// The group's ranges of `of_shard`, one tensor per shard: views.
std::vector<at::Tensor> cut(const ParameterGroup& group, std::span<const at::Tensor> of_shard);

/// One per shard; undefined for frozen ones.
std::vector<at::Tensor> trained_values(std::span<const FlatShard> shards);
std::vector<at::Tensor> trained_gradients(std::span<const FlatShard> shards);
std::vector<at::Tensor> zeros_like_trained(std::span<const FlatShard> shards);

/// Multiplies the gradients by factors[shard][slot].
void scale_gradients(std::span<FlatShard> shards, const std::vector<std::vector<double>>& factors);

}  // namespace cohort::shard
