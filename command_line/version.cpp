#include "command_line/version.h"

#include <array>

#include <fmt/format.h>
#include <hdf5.h>
#include <mpi.h>
#include <torch/version.h>
#ifdef COHORT_CUDA
#include <cuda_runtime_api.h>
#endif

#include "commit.h"

namespace cohort::command_line {
namespace {

std::string cuda_library() {
#ifdef COHORT_CUDA
  int version = 0;
  cudaRuntimeGetVersion(&version);
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
#else
  return "none, this build is for CPUs";
#endif
}

}  // namespace

std::string mpi_library() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string version(text.data(), static_cast<std::size_t>(length));
  return version.substr(0, version.find_first_of("\n,"));
}

std::string hdf5_library() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

std::string_view commit() {
  return kCommit;
}

std::string version_text(const std::string& program) {
  return fmt::format(
      "{} {} (commit {}, {})\n"
      "MPI       {}\n"
      "HDF5      {}\n"
      "LibTorch  {}\n"
      "CUDA      {}\n"
      "readers   {}\n"
      "compiler  {}",
      program, COHORT_VERSION, kCommit, COHORT_BUILD_TYPE, mpi_library(), hdf5_library(), TORCH_VERSION,
      cuda_library(), COHORT_READERS, COHORT_COMPILER);
}

}  // namespace cohort::command_line
