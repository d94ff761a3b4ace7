#include "comm/mpi_call.h"

#include <array>

#include <fmt/format.h>

#include "cohort/core/error.h"

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
  check_mpi(MPI_Comm_dup(comm, copy.out()), "MPI_Comm_dup");
  return_errors(copy.get());
  return copy;
}

MpiComm split_comm(MPI_Comm comm, int color) {
  MpiComm part;
  check_mpi(MPI_Comm_split(comm, color, rank_in(comm), part.out()), "MPI_Comm_split");
  return_errors(part.get());
  return part;
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
