#pragma once
#include <ATen/core/Tensor.h>

#include "comm/operation.h"

// The collectives of CPU tensors and of host values as operations of a queue. Sizes are checked by the
// caller.
namespace cohort::comm {
class SharedMemory;
}  // namespace cohort::comm

namespace cohort::comm::mpi {

/// Whether ranks that share memory exchange a tensor of `bytes` through it: from here on it is faster than
/// messages.
bool uses_shared_memory(std::size_t bytes) noexcept;

/// Bug unless MPI carries the dtype (f32, f64, bf16, i32, i64, u8) and a count of it fits MPI's int.
void check_tensor(const at::Tensor& tensor, const char* operation);

/// `memory`: of the ranks of this communicator; null when they do not share any.
Operation all_reduce(const at::Tensor& values, Reduce op, SharedMemory* memory);
Operation all_gather(const at::Tensor& output, const at::Tensor& input, SharedMemory* memory);
Operation reduce_scatter(const at::Tensor& output, const at::Tensor& input, Reduce op, int size,
                         SharedMemory* memory);
Operation all_to_all(const at::Tensor& output, const at::Tensor& input);
Operation broadcast(const at::Tensor& values, int root, SharedMemory* memory);
Operation barrier();

/// In place: `*value` is replaced on every rank when the operation is done.
Operation all_reduce(std::shared_ptr<std::int64_t> value, Reduce op);
Operation all_reduce(std::shared_ptr<double> value, Reduce op);
Operation broadcast_text(const std::shared_ptr<std::string>& text, int root);

/// Pieces of any length from every rank, concatenated by rank. The byte is the unit of `mine`, a row of
/// `row_bytes` that of `counts`, so that more than 2 GiB fit MPI's int.
struct Gathered {
  const void* mine = nullptr;
  int my_count = 0;
  std::int64_t row_bytes = 1;
  std::vector<int> counts;  ///< result: rows of each rank
  /// Called when all counts are known; returns where the rows go. Valid until the operation is done.
  std::function<void*(std::int64_t rows)> allocate;
};
Operation gather(const std::shared_ptr<Gathered>& gathered);

}  // namespace cohort::comm::mpi
