#pragma once
#include <cstddef>
#include <string>

#include "cohort/comm/communicator.h"

namespace cohort::comm {

/// A collective that ranks are asked for.
struct CollectiveCall {
  std::string group;      ///< name of the communicator: "parameters"
  int ranks = 1;          ///< of it
  std::string operation;  ///< "all_gather f32", as in traces and reports of failures
  double bytes = 0;       ///< that it is called with on a rank, as in traces: an all-gather's own part
  double moved = 0;       ///< of the larger buffer
};

/// Is told of collectives in the order in which a rank calls them and waits for them.
class CollectiveObserver {
 public:
  CollectiveObserver() = default;
  CollectiveObserver(const CollectiveObserver&) = delete;
  CollectiveObserver& operator=(const CollectiveObserver&) = delete;
  virtual ~CollectiveObserver() = default;
  /// Returns a number by which waited_for() tells this one.
  virtual std::size_t started(const CollectiveCall& call) = 0;
  virtual void waited_for(std::size_t number) = 0;
};

/// Rank 0 of `ranks`, of which the others are not there, to see what a program asks of them. Not collective.
/// Nothing moves: tensors keep what they have, sums are those of ranks that all have the same, texts and rows
/// of every rank are this rank's. Needs no MPI. Communicators made from it, by split(colour_of, name) and
/// duplicate(), are of the same kind; mpi_handle() and what reaches for MPI by itself are Bugs. Tensors may
/// be on any device, meta as well. `observer` outlives all of them.
Communicator pretend_ranks(int ranks, std::string name, CollectiveObserver& observer);

}  // namespace cohort::comm
