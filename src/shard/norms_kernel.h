#pragma once
#include <cuda_runtime_api.h>

#include "norms_body.h"

namespace cohort::shard {

/// Puts a kernel on the stream that writes the sum of squares of each held piece to its place in `table`. All
/// pointers, those in `parts` too, are of the current device. The result is the error of the launch.
cudaError_t launch_square_sums(const HeldPart* parts, std::int64_t count, std::int64_t pieces, double* table,
                               cudaStream_t stream);

}  // namespace cohort::shard
