#pragma once
#include <vector>

#include "cohort/checkpoint/store.h"
#include "cohort/shard/optimizer.h"
#include "cohort/shard/sharded_model.h"

namespace cohort::train {

/// Weights and optimizer state as named slices that refer to the tensors themselves: "/model/<name>",
/// "/optimizer/<state>/<name>" for trained parameters. To save: all ranks together have each value once.
std::vector<checkpoint::Slice> state_to_save(shard::ShardedModel& model, shard::Optimizer& optimizer);

/// To load: all that this rank holds; filling the slices changes the model and the optimizer.
std::vector<checkpoint::Slice> state_to_load(shard::ShardedModel& model, shard::Optimizer& optimizer);

}  // namespace cohort::train
