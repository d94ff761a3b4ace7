#include "plan/collective_cost.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "cohort/core/error.h"

namespace cohort::perf {
namespace {

/// NCCL 2.27, src/graph/tuning.cc: baseLat, hwLat for NVLink and network (us), and what a protocol leaves of
/// the bandwidth: LL sends a flag with each 4 bytes, LL128 8 bytes of flags in 128.
struct Protocol {
  double ring_base, ring_link, ring_network, tree_base, tree_link, tree_network, bandwidth;
};
constexpr std::array kProtocols{Protocol{6.6e-6, 0.6e-6, 2.7e-6, 6.8e-6, 0.6e-6, 5.0e-6, 0.5},        // LL
                                Protocol{14.0e-6, 1.9e-6, 4.0e-6, 14.0e-6, 1.25e-6, 8.5e-6, 0.9375},  // LL128
                                Protocol{8.4e-6, 3.4e-6, 14.0e-6, 8.4e-6, 4.0e-6, 14.0e-6, 1.0}};  // Simple
/// The part of a link's data sheet that collectives of large tensors move: nccl-tests on 8 H100 report a bus
/// bandwidth of some 360 of 450 GB/s.
constexpr double kLinkPart = 0.8;

double bandwidth_of(const RankGroup& group, const Cluster& cluster) {
  const double link =
      cluster.processor.link > 0 ? kLinkPart * cluster.processor.link : std::numeric_limits<double>::max();
  if (group.nodes() == 1) return link;
  const int adapters = cluster.network.adapters > 0 ? cluster.network.adapters : cluster.per_node;
  const double share = static_cast<double>(group.per_node) / cluster.per_node;
  return std::min(link, kLinkPart * cluster.network.bandwidth * adapters * share);
}

CollectiveTime measured_time(const std::string& operation, double volume, const Processor& processor) {
  const auto found = processor.collectives.find(operation);
  // What was not measured goes like the reduction of as many bytes.
  const MeasuredCollective& measured =
      found != processor.collectives.end() ? found->second : processor.collectives.at("reduce_scatter");
  return {measured.latency, volume / measured.bandwidth};
}

}  // namespace

RankGroup row_group(const Cluster& cluster, int shards) {
  return {shards, std::min(shards, cluster.per_node)};
}

RankGroup column_group(const Cluster& cluster, int shards) {
  return {cluster.ranks() / shards, std::max(1, cluster.per_node / shards)};
}

RankGroup world_group(const Cluster& cluster) {
  return {cluster.ranks(), cluster.per_node};
}

CollectiveTime collective_time(const std::string& operation, double bytes, const RankGroup& group,
                               const Cluster& cluster) {
  COHORT_CHECK(group.ranks >= 1 && bytes >= 0, "{} of {} bytes on {} ranks", operation, bytes, group.ranks);
  if (group.ranks == 1) return {};
  const double ranks = group.ranks, nodes = group.nodes();
  const bool reduces_all = operation == "all_reduce";
  const double passes = reduces_all ? 2 : 1, volume = passes * bytes * (ranks - 1) / ranks;
  if (cluster.processor.is_cpu()) return measured_time(operation, volume, cluster.processor);
  const double bandwidth = bandwidth_of(group, cluster);
  CollectiveTime best{std::numeric_limits<double>::max(), 0};
  const auto consider = [&](double latency, double transfer) {
    if (latency + transfer < best.total()) best = {latency, transfer};
  };
  for (const Protocol& protocol : kProtocols) {
    const double transfer = volume / (bandwidth * protocol.bandwidth);
    const double steps = passes * (ranks - 1), between_nodes = nodes > 1 ? passes * (nodes - 1) : 0;
    consider(protocol.ring_base + (steps - between_nodes) * protocol.ring_link +
                 between_nodes * protocol.ring_network,
             transfer);
    if (!reduces_all) continue;
    consider(protocol.tree_base +
                 2 * ((group.per_node - 1) * protocol.tree_link + std::log2(nodes) * protocol.tree_network),
             transfer);
  }
  return best;
}

}  // namespace cohort::perf
