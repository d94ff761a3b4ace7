#pragma once
#include <cuda_runtime_api.h>

#include "nn/segment_sums_body.h"

namespace cohort::nn {

/// Put the kernels on the stream; pointers are of the current device. The result is the error of the launch.
cudaError_t launch(const SegmentSums<float>& sums, std::int64_t rows, cudaStream_t stream);
cudaError_t launch(const SegmentSums<double>& sums, std::int64_t rows, cudaStream_t stream);
cudaError_t launch(const SegmentGradients<float>& gradients, cudaStream_t stream);
cudaError_t launch(const SegmentGradients<double>& gradients, cudaStream_t stream);

}  // namespace cohort::nn
