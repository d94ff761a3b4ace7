#pragma once
#include <cstdint>
#include <vector>

#include "cohort/checkpoint/store.h"
#include "cohort/shard/optimizer.h"
#include "cohort/shard/sharded_model.h"

namespace cohort::train {

/// Weights and optimizer state as named slices that refer to the tensors themselves: "/model/<name>",
/// "/optimizer/<state>/<name>" for trained parameters. To save: all ranks together have each value once.
std::vector<checkpoint::Slice> state_to_save(shard::ShardedModel& model, shard::Optimizer& optimizer);

/// Collective. Gives the model and the optimizer the values of a checkpoint. What the optimizer keeps and the
/// checkpoint has of no parameter (imported weights; a momentum that was 0) begins at zero, which is logged.
/// Throws DataError (checkpoint::Store::load()).
void load_state(checkpoint::Store& store, std::int64_t step, shard::ShardedModel& model,
                shard::Optimizer& optimizer, comm::Communicator& ranks);

}  // namespace cohort::train
