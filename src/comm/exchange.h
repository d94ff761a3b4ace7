#pragma once
#include <vector>

#include <ATen/core/Tensor.h>

#include "comm/operation.h"

// Reductions of large tensors: each rank receives everybody's version of one piece and reduces them in the
// order of the ranks, so that all ranks end with the same bits. In segments, which bound the scratch memory.
// MPI's own algorithms are slower or wrong there (docs/decisions/0001-communication-thread.md).
namespace cohort::comm::mpi {

/// In place; the reduced pieces are gathered afterwards.
std::vector<Step> exchanged_all_reduce(const at::Tensor& values, Reduce op);

/// `output` [n]: this rank's block of the reduced `input` [size * n].
std::vector<Step> exchanged_reduce_scatter(const at::Tensor& output, const at::Tensor& input, Reduce op,
                                           int size);

}  // namespace cohort::comm::mpi
