#include "comm/mpi_call.h"

#include <array>
#include <numeric>

#include <fmt/format.h>

#include "cohort/core/error.h"

#include "comm/blocking_call.h"

namespace cohort::comm {
namespace {

bool is_finalized() noexcept {
  int finalized = 0;
  MPI_Finalized(&finalized);
  return finalized != 0;
}

void return_errors(MPI_Comm comm) {
  check_mpi(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
}

}  // namespace

void check_mpi(int result, const char* call, std::source_location where) {
  if (result == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(result, text.data(), &length);
  throw RankError({fmt::format("{} failed: {}", call, text.data()),
                   fmt::format("{}:{}", where.file_name(), where.line()),
                   "look for the first error of the other ranks; a lost rank or network shows up like this"});
}

void MpiCommTraits::close(type comm) noexcept {
  if (!is_finalized()) MPI_Comm_free(&comm);
}

void MpiTypeTraits::close(type datatype) noexcept {
  if (!is_finalized()) MPI_Type_free(&datatype);
}

MpiComm duplicate_comm(MPI_Comm comm) {
  MpiComm copy;
  const BlockingCall call("MPI_Comm_dup");
  check_mpi(MPI_Comm_dup(comm, copy.out()), "MPI_Comm_dup");
  return_errors(copy.get());
  return copy;
}

MpiComm split_comm(MPI_Comm comm, int color) {
  MpiComm part;
  const BlockingCall call("MPI_Comm_split");
  check_mpi(MPI_Comm_split(comm, color, rank_in(comm), part.out()), "MPI_Comm_split");
  return_errors(part.get());
  return part;
}

std::vector<int> world_ranks_of(MPI_Comm comm) {
  std::vector<int> ranks(static_cast<std::size_t>(size_of(comm))), in_world(ranks.size());
  std::iota(ranks.begin(), ranks.end(), 0);
  MPI_Group group = MPI_GROUP_NULL, world = MPI_GROUP_NULL;
  check_mpi(MPI_Comm_group(comm, &group), "MPI_Comm_group");
  check_mpi(MPI_Comm_group(MPI_COMM_WORLD, &world), "MPI_Comm_group");
  const int result =
      MPI_Group_translate_ranks(group, static_cast<int>(ranks.size()), ranks.data(), world, in_world.data());
  MPI_Group_free(&group);
  MPI_Group_free(&world);
  check_mpi(result, "MPI_Group_translate_ranks");
  return in_world;
}

int rank_in(MPI_Comm comm) {
  int rank = 0;
  check_mpi(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
  return rank;
}

int size_of(MPI_Comm comm) {
  int size = 0;
  check_mpi(MPI_Comm_size(comm, &size), "MPI_Comm_size");
  return size;
}

}  // namespace cohort::comm
