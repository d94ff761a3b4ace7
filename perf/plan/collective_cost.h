#pragma once
#include <string>

#include "plan/hardware.h"

namespace cohort::perf {

/// A node count and what is in a node.
struct Cluster {
  Processor processor;
  Network network;
  int nodes = 1, per_node = 1;
  [[nodiscard]] int ranks() const noexcept { return nodes * per_node; }
};

/// Ranks that call a collective together, and as many other groups like it at the same time that all ranks
/// are in one.
struct RankGroup {
  int ranks = 1;
  int per_node = 1;  ///< of the group's ranks, on each node that it has ranks on
  [[nodiscard]] int nodes() const noexcept { return (ranks + per_node - 1) / per_node; }
};

/// A row of `shards` neighbouring ranks; ranks with equal places in their rows; all.
RankGroup row_group(const Cluster& cluster, int shards);
RankGroup column_group(const Cluster& cluster, int shards);
RankGroup world_group(const Cluster& cluster);

/// Seconds of a collective: of the start-up alone, and of moving bytes, during which it shares links with
/// others.
struct CollectiveTime {
  double latency = 0, transfer = 0;
  [[nodiscard]] double total() const noexcept { return latency + transfer; }
};

/// `operation`: "all_gather", "reduce_scatter", "all_reduce", "all_to_all"; `bytes`: of the larger buffer.
/// On a GPU the least of NCCL's own estimates (src/graph/tuning.cc of NCCL 2.27): a ring, and for an
/// all-reduce also a double binary tree (arXiv 1909.09756), each in the protocols LL, LL128 and Simple.
/// Bandwidth is that of the slowest link of the ring: NVLink within a node; between nodes all adapters of a
/// node together, of which a group that has some ranks of each node gets that part.
CollectiveTime collective_time(const std::string& operation, double bytes, const RankGroup& group,
                               const Cluster& cluster);

}  // namespace cohort::perf
