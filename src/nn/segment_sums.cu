#include "nn/segment_sums_kernel.h"
#include "support/kernel_launch.h"

namespace cohort::nn {
namespace {

constexpr int kThreads = 128;

// A block for each row and tile of columns: all its threads look at the same entry at a time.
template <class Value>
__global__ void sum_kernel(SegmentSums<Value> sums) {
  const std::int64_t column = std::int64_t{blockIdx.y} * kThreads + threadIdx.x;
  if (column <= sums.width) sum_segment(sums, std::int64_t{blockIdx.x}, column);
}

template <class Value>
__global__ void gather_kernel(SegmentGradients<Value> gradients) {
  const std::int64_t column = std::int64_t{blockIdx.y} * kThreads + threadIdx.x;
  if (column < gradients.width) gather_segment(gradients, std::int64_t{blockIdx.x}, column);
}

dim3 grid_of(std::int64_t rows, std::int64_t columns) {
  return {static_cast<unsigned>(rows), static_cast<unsigned>((columns + kThreads - 1) / kThreads)};
}

template <class Value>
cudaError_t launch_sums(const SegmentSums<Value>& sums, std::int64_t rows, cudaStream_t stream) {
  if (rows == 0) return cudaSuccess;
  return launch_kernel(sum_kernel<Value>, grid_of(rows, sums.width + 1), kThreads, stream, sums);
}

template <class Value>
cudaError_t launch_gradients(const SegmentGradients<Value>& gradients, cudaStream_t stream) {
  if (gradients.images == 0) return cudaSuccess;
  return launch_kernel(gather_kernel<Value>, grid_of(gradients.images, gradients.width), kThreads, stream,
                       gradients);
}

}  // namespace

cudaError_t launch(const SegmentSums<float>& sums, std::int64_t rows, cudaStream_t stream) {
  return launch_sums(sums, rows, stream);
}
cudaError_t launch(const SegmentSums<double>& sums, std::int64_t rows, cudaStream_t stream) {
  return launch_sums(sums, rows, stream);
}
cudaError_t launch(const SegmentGradients<float>& gradients, cudaStream_t stream) {
  return launch_gradients(gradients, stream);
}
cudaError_t launch(const SegmentGradients<double>& gradients, cudaStream_t stream) {
  return launch_gradients(gradients, stream);
}

}  // namespace cohort::nn
