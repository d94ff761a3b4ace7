#pragma once
#include <cuda_runtime_api.h>
#include <thread>
#include <vector>

namespace cohort {

/// Runs a kernel on the CPU: blocks one after the other, the threads of a block as threads that run at the
/// same time.
template <class... Parameters, class... Arguments>
cudaError_t launch_kernel(void (*kernel)(Parameters...), dim3 blocks, unsigned threads,
                          cudaStream_t /*stream*/, const Arguments&... arguments) {
  for (unsigned block = 0; block < blocks.x * blocks.y; ++block) {
    std::barrier barrier(threads);
    std::vector<std::jthread> running;
    for (unsigned thread = 0; thread < threads; ++thread) {
      running.emplace_back([&, thread] {
        threadIdx = {thread, 0, 0};
        blockIdx = {block % blocks.x, block / blocks.x, 0};
        gridDim = blocks;
        block_barrier = &barrier;
        kernel(arguments...);
        barrier.arrive_and_drop();
      });
    }
  }
  return cudaSuccess;
}

}  // namespace cohort
