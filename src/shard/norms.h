#pragma once
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/shard/sharded_model.h"

namespace cohort::shard {

/// ShardedModel::squared_norms() for `shards`; `ranks` together hold each flat parameter once.
std::vector<std::vector<double>> squared_norms(std::span<const FlatShard> shards,
                                               std::span<const at::Tensor> values, comm::Communicator& ranks);

}  // namespace cohort::shard
