#include "cohort/comm/mesh.h"

#include <string>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

#include "comm/blocking_call.h"
#include "comm/communicator_impl.h"

namespace cohort::comm {
namespace {

int checked(int shards, int ranks) {
  if (shards >= 1 && ranks % shards == 0) return shards;
  std::vector<std::string> divisors;
  for (int size = 1; size <= ranks; ++size) {
    if (ranks % size == 0) divisors.push_back(std::to_string(size));
  }
  throw UsageError(
      {fmt::format("{} ranks cannot be divided into groups of {} that each hold the model", ranks, shards),
       "sharding.shard_size", "use one of " + join(divisors, ", ")});
}

MpiComm node_of(MPI_Comm comm) {
  MpiComm node;
  const BlockingCall call("MPI_Comm_split_type");
  check_mpi(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, node.out()),
            "MPI_Comm_split_type");
  return node;
}

}  // namespace

DeviceMesh::DeviceMesh(const Communicator& ranks, int shards)
    : shards_(checked(shards, ranks.size())),
      world_(ranks.duplicate("mesh")),
      parameters_(ranks.split([shards](int rank) { return rank / shards; }, "parameters")),
      gradients_(parameters_.duplicate("gradients")),
      replicate_(ranks.split([shards](int rank) { return rank % shards; }, "replicate")) {}

int rank_on_node(const Communicator& ranks) {
  const Communicator world = ranks.duplicate("nodes");
  return rank_in(node_of(MPI_Comm_f2c(world.mpi_handle())).get());
}

int ranks_per_node(const Communicator& ranks) {
  Communicator world = ranks.duplicate("nodes");
  const MpiComm node = node_of(MPI_Comm_f2c(world.mpi_handle()));
  const int mine = size_of(node.get());
  const bool in_order = rank_in(node.get()) == world.rank() % mine;
  const bool even = world.max(std::int64_t{mine}) == mine && world.max(std::int64_t{in_order ? 0 : 1}) == 0;
  return world.max(std::int64_t{even ? 0 : 1}) == 0 ? mine : 1;
}

}  // namespace cohort::comm
