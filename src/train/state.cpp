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

void append(std::vector<checkpoint::Slice>& slices, const std::string& prefix,
            std::vector<shard::NamedPiece> pieces) {
  for (shard::NamedPiece& piece : pieces)
    slices.push_back({prefix + piece.name, std::move(piece.shape), piece.begin, std::move(piece.values)});
}

std::vector<checkpoint::Slice> sharded_slices(const TrainingState& state, Cut cut) {
  std::vector<checkpoint::Slice> slices;
  for (const TrainingState::Part& part : state.parts) {
    for (const shard::FlatShard& shard : part.model->shards())
      append(slices, "/" + part.name + "/", cut(shard, shard.value.detach()));
  }
  const std::span<shard::FlatShard> shards = state.optimizer->shards();
  for (const auto& kept : state.optimizer->states()) {
    for (std::size_t i = 0; i < shards.size(); ++i) {
      if (shards[i].trained) append(slices, kOptimizer + kept.name + "/", cut(shards[i], kept.of_shard[i]));
    }
  }
  return slices;
}

void append_buffers(std::vector<checkpoint::Slice>& slices, const TrainingState& state) {
  const auto add = [&](const std::string& prefix, const std::vector<method::Buffer>& buffers) {
    for (const method::Buffer& buffer : buffers)
      slices.push_back({prefix + buffer.name, buffer.values.sizes().vec(), 0, buffer.values.view({-1})});
  };
  add("/method/", state.buffers);
  add("", state.optional);
}

bool has_tensors_of(const checkpoint::Contents& contents, const std::string& prefix) {
  const auto first = contents.tensors.lower_bound(prefix);
  return first != contents.tensors.end() && first->first.starts_with(prefix);
}

// Collective. Which of `prefixes` no tensor of the checkpoint begins with.
std::vector<std::string> missing_from(const checkpoint::Store& store, std::int64_t step,
                                      const std::vector<std::string>& prefixes, comm::Communicator& ranks) {
  std::optional<checkpoint::Contents> contents;
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) contents = store.contents(step);
  });
  std::vector<std::string> missing;
  for (const std::string& prefix : prefixes) {
    const bool there = contents && has_tensors_of(*contents, prefix);
    if (ranks.max(std::int64_t{there}) == 0) missing.push_back(prefix);
  }
  return missing;
}

// What a checkpoint need not have.
std::vector<std::string> optional_prefixes(const TrainingState& state) {
  std::vector<std::string> prefixes;
  for (const auto& kept : state.optimizer->states()) prefixes.push_back(kOptimizer + kept.name + "/");
  for (const method::Buffer& buffer : state.optional) prefixes.push_back(buffer.name);
  return prefixes;
}

}  // namespace

std::vector<checkpoint::Slice> state_to_save(const TrainingState& state, const comm::Communicator& ranks) {
  std::vector<checkpoint::Slice> slices = sharded_slices(state, shard::pieces_to_save);
  if (ranks.rank() == 0) append_buffers(slices, state);
  return slices;
}

void load_state(checkpoint::Store& store, std::int64_t step, const TrainingState& state,
                comm::Communicator& ranks) {
  std::vector<checkpoint::Slice> slices = sharded_slices(state, shard::pieces_to_load);
  append_buffers(slices, state);
  for (const std::string& prefix : missing_from(store, step, optional_prefixes(state), ranks)) {
    log_info(fmt::format("the checkpoint has no {}, which begins anew", prefix));
    std::erase_if(slices, [&](const auto& slice) { return slice.name.starts_with(prefix); });
  }
  store.load(step, slices);
  state.optimizer->set_steps(step);
  for (const TrainingState::Part& part : state.parts) part.model->parameters_changed();
}

}  // namespace cohort::train
