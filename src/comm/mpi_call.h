#pragma once
#include <chrono>
#include <source_location>
#include <string>
#include <vector>

#include <mpi.h>

#include "cohort/core/handle.h"

namespace cohort::comm {

/// Throws RankError with MPI's own text unless `result` is MPI_SUCCESS. `call`: "MPI_Iallreduce".
void check_mpi(int result, const char* call, std::source_location where = std::source_location::current());

struct MpiCommTraits {
  using type = MPI_Comm;
  static type null() noexcept { return MPI_COMM_NULL; }
  static void close(type comm) noexcept;  ///< nothing after MPI_Finalize
};
using MpiComm = Handle<MpiCommTraits>;

struct MpiTypeTraits {
  using type = MPI_Datatype;
  static type null() noexcept { return MPI_DATATYPE_NULL; }
  static void close(type datatype) noexcept;
};
using MpiType = Handle<MpiTypeTraits>;

/// Collective. A duplicate that returns errors instead of ending the job.
MpiComm duplicate_comm(MPI_Comm comm);
/// Collective. Ranks with the same color, ordered by their rank in `comm`.
MpiComm split_comm(MPI_Comm comm, int color);

/// Ranks in MPI_COMM_WORLD of those of `comm`, in its order.
std::vector<int> world_ranks_of(MPI_Comm comm);

int rank_in(MPI_Comm comm);
int size_of(MPI_Comm comm);

/// Session::set_timeout's value.
std::chrono::nanoseconds operation_timeout() noexcept;

}  // namespace cohort::comm
