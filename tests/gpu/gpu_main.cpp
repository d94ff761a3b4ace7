// Runs the tests where a CUDA device is; elsewhere says that it skips them and returns what CTest counts as
// skipped.
#include <cstdio>

#include <ATen/Context.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>
#include <mpi.h>

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;
  testing::InitGoogleTest(&argc, argv);
  if (c10::cuda::device_count() == 0) {
    std::puts("skipped: no CUDA device");
    return kSkipped;
  }
  // Convolutions would otherwise round their inputs to 10 bits.
  at::globalContext().setAllowTF32CuDNN(false);
  at::globalContext().setAllowTF32CuBLAS(false);
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
  const int status = RUN_ALL_TESTS();
  MPI_Finalize();
  return status;
}
