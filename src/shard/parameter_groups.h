#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cohort/nn/parameter_rule.h"
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
  std::optional<double> weight_decay{};  ///< nothing: that of the step
  std::int64_t first_epoch = 0;          ///< not updated before
  std::vector<Range> ranges;
};

[[nodiscard]] bool is_matrix(const ParameterSlot& slot) noexcept;

/// Trained values by learning rate, which is layer_decay^(last layer - layer) of that of the last layer times
/// what rules say; by weight decay, which matrices have that are not named a bias, unless a rule says another
/// one; and by first epoch. Neighbours of one kind are one range, so that a shard has two when layer_decay is
/// 1 and no rule parts them. Bug when a shard or a slot is not aligned.
std::vector<ParameterGroup> parameter_groups(std::span<const FlatShard> shards, double layer_decay,
                                             std::span<const nn::ParameterRule> rules = {});

/// The group's ranges of `of_shard`, one tensor per shard: views.
std::vector<at::Tensor> cut(const ParameterGroup& group, std::span<const at::Tensor> of_shard);

/// One per shard; undefined for frozen ones.
std::vector<at::Tensor> trained_values(std::span<const FlatShard> shards);
std::vector<at::Tensor> trained_gradients(std::span<const FlatShard> shards);
std::vector<at::Tensor> zeros_like_trained(std::span<const FlatShard> shards);

/// Multiplies the gradients by factors[shard][slot].
void scale_gradients(std::span<FlatShard> shards, const std::vector<std::vector<double>>& factors);

}  // namespace cohort::shard
