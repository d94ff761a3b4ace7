#include "train/state.h"

#include <optional>
#include <span>
#include <string>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/log.h"

namespace cohort::train {
namespace {

const std::string kOptimizer = "/optimizer/";

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
      append(kOptimizer + state.name + "/", shards[i], state.of_shard[i]);
    }
  }
  return slices;
}

bool has_tensors_below(const checkpoint::Contents& contents, const std::string& prefix) {
  const auto first = contents.tensors.lower_bound(prefix);
  return first != contents.tensors.end() && first->first.starts_with(prefix);
}

// Collective. Names of what the optimizer keeps and the checkpoint has of no parameter.
std::vector<std::string> states_not_in(const checkpoint::Store& store, std::int64_t step,
                                       shard::Optimizer& optimizer, comm::Communicator& ranks) {
  std::optional<checkpoint::Contents> contents;
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) contents = store.contents(step);
  });
  std::vector<std::string> names;
  for (const auto& state : optimizer.states()) {
    const bool there = contents && has_tensors_below(*contents, kOptimizer + state.name + "/");
    if (ranks.max(std::int64_t{there}) == 0) names.push_back(state.name);
  }
  return names;
}

}  // namespace

std::vector<checkpoint::Slice> state_to_save(shard::ShardedModel& model, shard::Optimizer& optimizer) {
  return state_slices(model, optimizer, shard::pieces_to_save);
}

void load_state(checkpoint::Store& store, std::int64_t step, shard::ShardedModel& model,
                shard::Optimizer& optimizer, comm::Communicator& ranks) {
  std::vector<checkpoint::Slice> state = state_slices(model, optimizer, shard::pieces_to_load);
  for (const std::string& name : states_not_in(store, step, optimizer, ranks)) {
    log_info(fmt::format("the checkpoint has no {} of the optimizer, which begins at zero", name));
    const std::string prefix = kOptimizer + name + "/";
    std::erase_if(state, [&](const auto& slice) { return slice.name.starts_with(prefix); });
  }
  store.load(step, state);
  optimizer.set_steps(step);
  model.parameters_changed();
}

}  // namespace cohort::train
