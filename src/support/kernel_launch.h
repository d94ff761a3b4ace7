#pragma once
#include <cuda_runtime_api.h>

namespace cohort {

/// Puts a kernel on the stream; the result is the error of the launch. The test kernels_on_cpu_test has a
/// version of its own, which runs every thread of a block as a thread of the CPU.
template <class... Parameters, class... Arguments>
cudaError_t launch_kernel(void (*kernel)(Parameters...), dim3 blocks, unsigned threads, cudaStream_t stream,
                          const Arguments&... arguments) {
  kernel<<<blocks, threads, 0, stream>>>(arguments...);
  return cudaGetLastError();
}

}  // namespace cohort
