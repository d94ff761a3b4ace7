#include <type_traits>

#include "augment/lanes.h"
#include "augment/view_kernel.h"
#include "support/kernel_launch.h"

namespace cohort::augment {
namespace {

/// A block of kLanes threads: each takes every so manieth item of a step.
struct BlockLanes {
  double* sums;  ///< [kLanes], shared by the block

  template <class Item>
  __device__ void for_each(std::int32_t count, const Item& item) const {
    for (std::int32_t i = static_cast<std::int32_t>(threadIdx.x); i < count; i += kLanes) item(i);
    __syncthreads();
  }
  template <class Value>
  __device__ double sum(std::int32_t count, const Value& value) const {
    double mine = 0.0;
    for (std::int32_t i = static_cast<std::int32_t>(threadIdx.x); i < count; i += kLanes) mine += value(i);
    sums[threadIdx.x] = mine;
    __syncthreads();
    for (unsigned half = kLanes / 2; half > 0; half /= 2) {
      if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
      __syncthreads();
    }
    const double all = sums[0];
    __syncthreads();  // before another sum begins
    return all;
  }
};

template <class Recipe>
__device__ void make_view(const BlockLanes& lanes, const ViewBatch& batch, std::int64_t job,
                          unsigned char* memory) {
  if constexpr (std::is_same_v<Recipe, ColourRecipe>) make_colour_view(lanes, batch, job, memory);
  if constexpr (std::is_same_v<Recipe, CellRecipe>) make_cell_view(lanes, batch, job, memory);
  if constexpr (std::is_same_v<Recipe, WholeRecipe>) make_whole_view(lanes, batch, job, memory);
}

template <class Recipe>
__global__ void __launch_bounds__(kLanes)
    view_kernel(const __grid_constant__ ViewBatch batch, std::int64_t jobs, unsigned char* memory,
                std::int64_t memory_bytes) {
  __shared__ double sums[kLanes];
  const BlockLanes lanes{sums};
  for (std::int64_t job = blockIdx.x; job < jobs; job += gridDim.x) {
    make_view<Recipe>(lanes, batch, job, memory + blockIdx.x * memory_bytes);
    __syncthreads();
  }
}

}  // namespace

template <class Recipe>
cudaError_t launch_views(const ViewBatch& batch, std::int64_t jobs, unsigned char* memory,
                         std::int64_t memory_bytes, int blocks, cudaStream_t stream) {
  if (jobs == 0) return cudaSuccess;
  return launch_kernel(view_kernel<Recipe>, static_cast<unsigned>(blocks), kLanes, stream, batch, jobs,
                       memory, memory_bytes);
}

template cudaError_t launch_views<ColourRecipe>(const ViewBatch&, std::int64_t, unsigned char*, std::int64_t,
                                                int, cudaStream_t);
template cudaError_t launch_views<CellRecipe>(const ViewBatch&, std::int64_t, unsigned char*, std::int64_t,
                                              int, cudaStream_t);
template cudaError_t launch_views<WholeRecipe>(const ViewBatch&, std::int64_t, unsigned char*, std::int64_t,
                                               int, cudaStream_t);

}  // namespace cohort::augment
