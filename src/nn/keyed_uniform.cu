#include "nn/keyed_uniform_kernel.h"
#include "support/kernel_launch.h"

namespace cohort::nn {
namespace {

constexpr int kUniformThreads = 256;

// A thread for each four values, rows of the grid for images.
__global__ void uniform_kernel(KeyedUniform uniform) {
  const std::int64_t block = std::int64_t{blockIdx.y} * kUniformThreads + threadIdx.x;
  if (4 * block < uniform.count) fill_block(uniform, std::int64_t{blockIdx.x}, block);
}

}  // namespace

cudaError_t launch(const KeyedUniform& uniform, std::int64_t images, cudaStream_t stream) {
  if (images == 0 || uniform.count == 0) return cudaSuccess;
  const std::int64_t blocks = (uniform.count + 3) / 4;
  const dim3 grid(static_cast<unsigned>(images),
                  static_cast<unsigned>((blocks + kUniformThreads - 1) / kUniformThreads));
  return launch_kernel(uniform_kernel, grid, kUniformThreads, stream, uniform);
}

}  // namespace cohort::nn
