#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cohort/checkpoint/store.h"
#include "cohort/method/method.h"
#include "cohort/shard/optimizer.h"
#include "cohort/shard/sharded_model.h"

namespace cohort::train {

/// All that a run goes on from. References to what training works on.
struct TrainingState {
  struct Part {
    std::string name;
    shard::ShardedModel* model;
  };
  std::vector<Part> parts;
  shard::Optimizer* optimizer;  ///< of the trained part
  std::vector<method::Buffer> buffers{};
  /// What older checkpoints may not have, which then keeps its values; with whole names.
  std::vector<method::Buffer> optional{};
};

/// Weights, optimizer state and buffers as named slices that refer to the tensors themselves:
/// "/<part>/<name>", "/optimizer/<state>/<name>" for trained parameters, "/method/<buffer>". To save: all
/// ranks together have each value once.
std::vector<checkpoint::Slice> state_to_save(const TrainingState& state, const comm::Communicator& ranks);

/// Collective. Gives the models, the optimizer and the buffers the values of a checkpoint. What the optimizer
/// keeps and the checkpoint has of no parameter (imported weights; a momentum that was 0) begins at zero, an
/// optional buffer with the values that it has; that is logged. Throws DataError (checkpoint::Store::load()).
void load_state(checkpoint::Store& store, std::int64_t step, const TrainingState& state,
                comm::Communicator& ranks);

}  // namespace cohort::train
