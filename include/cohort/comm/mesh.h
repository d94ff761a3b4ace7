#pragma once
#include "cohort/comm/communicator.h"

namespace cohort::comm {

/// The ranks as a grid of `replicas` rows and `shards` columns: rank = replica * shards + shard. A row holds
/// a model once, divided over its ranks; a column holds the same shard several times. Neighbouring ranks,
/// which mostly share a node, form a row. Each group has communicators of its own, so that parameters,
/// gradients and the rest do not wait for each other. Move-only; outlives what uses it.
class DeviceMesh {
 public:
  /// Collective. Throws UsageError, on every rank, when `shards` does not divide the number of ranks; the
  /// message names the divisors.
  DeviceMesh(const Communicator& ranks, int shards);

  [[nodiscard]] int shards() const noexcept { return shards_; }
  [[nodiscard]] int replicas() const noexcept { return world_.size() / shards_; }
  [[nodiscard]] int shard() const noexcept { return world_.rank() % shards_; }
  [[nodiscard]] int replica() const noexcept { return world_.rank() / shards_; }

  Communicator& world() noexcept { return world_; }  ///< all ranks: gradients that all of them exchange
  Communicator& parameters() noexcept { return parameters_; }  ///< this row, for gathering parameters
  Communicator& gradients() noexcept { return gradients_; }    ///< this row, for reducing gradients
  Communicator& replicate() noexcept { return replicate_; }    ///< this column

 private:
  int shards_;
  Communicator world_, parameters_, gradients_, replicate_;
};

/// Collective. Ranks of `ranks` on this rank's node when every node has as many, neighbours on each; else 1.
int ranks_per_node(const Communicator& ranks);

/// Collective. Number of this rank among those of `ranks` on its node, from 0.
int rank_on_node(const Communicator& ranks);

}  // namespace cohort::comm
