#pragma once
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/shard/sharded_model.h"

#include "norms_body.h"

namespace cohort::shard {

/// ShardedModel::squared_norms() for `shards`; `ranks` together hold each flat parameter once.
std::vector<std::vector<double>> squared_norms(std::span<const FlatShard> shards,
                                               std::span<const at::Tensor> values, comm::Communicator& ranks);

/// What this rank holds of the parameters of all shards.
struct HeldParts {
  std::vector<HeldPart> parts;
  std::int64_t pieces = 0;  ///< that this rank holds
  std::int64_t table = 0;   ///< pieces of all ranks
};
/// `values`: f32, contiguous, one tensor for each shard; of an undefined one nothing is held.
HeldParts held_parts(std::span<const FlatShard> shards, std::span<const at::Tensor> values);

}  // namespace cohort::shard
