#pragma once
#include <cuda_runtime_api.h>

#include "nn/keyed_uniform_body.h"

namespace cohort::nn {

/// Puts the kernel on the stream; pointers are of the current device. The result is the error of the launch.
cudaError_t launch(const KeyedUniform& uniform, std::int64_t images, cudaStream_t stream);

}  // namespace cohort::nn
