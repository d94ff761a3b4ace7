#pragma once
#include <cuda_runtime_api.h>

#include "augment/view_body.h"

namespace cohort::augment {

/// Puts the kernel that makes all views of a batch on the stream. `memory`: [blocks, memory_bytes], a
/// multiple of 16, of the current device, as all pointers are. The result is the error of the launch.
template <class Recipe>
cudaError_t launch_views(const ViewBatch& batch, std::int64_t jobs, unsigned char* memory,
                         std::int64_t memory_bytes, int blocks, cudaStream_t stream);

}  // namespace cohort::augment
