#include "train/state.h"

#include <span>
#include <string>

#include <ATen/ATen.h>

namespace cohort::train {
namespace {

using Cut = std::vector<shard::NamedPiece> (*)(const shard::FlatShard&, const at::Tensor&);

std::vector<checkpoint::Slice> state_slices(shard::ShardedModel& model, shard::Optimizer& optimizer,
                                            Cut cut) {
  std::vector<checkpoint::Slice> slices;
  const auto append = [&](const std::string& prefix, const shard::FlatShard& shard,
                          const at::Tensor& values) {
    for (shard::NamedPiece& piece : cut(shard, values)) {
      slices.push_back({prefix + piece.name, std::move(piece.shape), piece.begin, std::move(piece.values)});
    }
  };
  const std::span<shard::FlatShard> shards = model.shards();
  for (const shard::FlatShard& shard : shards) append("/model/", shard, shard.value.detach());
  for (const auto& state : optimizer.states()) {
    for (std::size_t i = 0; i < shards.size(); ++i) {
      if (!shards[i].trained) continue;
      append("/optimizer/" + state.name + "/", shards[i], state.of_shard[i]);
    }
  }
  return slices;
}

}  // namespace

std::vector<checkpoint::Slice> state_to_save(shard::ShardedModel& model, shard::Optimizer& optimizer) {
  return state_slices(model, optimizer, shard::pieces_to_save);
}

std::vector<checkpoint::Slice> state_to_load(shard::ShardedModel& model, shard::Optimizer& optimizer) {
  return state_slices(model, optimizer, shard::pieces_to_load);
}

}  // namespace cohort::train
