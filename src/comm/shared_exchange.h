#pragma once
#include <ATen/core/Tensor.h>

#include "comm/operation.h"
#include "comm/shared_memory.h"

// Collectives of ranks on one node, through memory that all of them have mapped. Chunk by chunk: a rank
// copies there what others need, and reads in place what it needs of theirs. Half the copies of messages, and
// each value is in the cache when it is read. Results have the same bits as those of exchange.h.
namespace cohort::comm::mpi {

Step shared_all_reduce(const at::Tensor& values, Reduce op, SharedMemory& memory);
Step shared_reduce_scatter(const at::Tensor& output, const at::Tensor& input, Reduce op, int size,
                           SharedMemory& memory);
Step shared_all_gather(const at::Tensor& output, const at::Tensor& input, SharedMemory& memory);
Step shared_broadcast(const at::Tensor& values, int root, SharedMemory& memory);

}  // namespace cohort::comm::mpi
