#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "cohort/comm/communicator.h"
#include "cohort/comm/pretended.h"

#include "comm/mpi_call.h"
#include "comm/nccl_transport.h"
#include "comm/operation_queue.h"
#include "comm/shared_memory.h"

namespace cohort::comm {

struct Communicator::Impl {
  /// Collective. Takes over `comm`. `id`: as open_history().
  Impl(MpiComm comm, std::string name, std::uint64_t id);
  /// Of ranks that are not there (pretend_ranks()).
  Impl(int ranks, std::string name, CollectiveObserver& observer);

  std::string name;
  int rank, size;
  std::uint64_t id, children = 0;  ///< communicators made from this one: each has an id of its own
  MpiComm alone;                   ///< the communicator when there is one rank: nothing is ever sent
  std::optional<std::unique_ptr<SharedMemory>> shared;  ///< asked for by the first large collective
  std::unique_ptr<OperationQueue> queue;                ///< null when there is one rank
  std::unique_ptr<NcclTransport> nccl;                  ///< made by the first collective of a CUDA tensor
  CollectiveObserver* observer = nullptr;               ///< of ranks that are not there; else null

  /// Collective when called first. What carries tensors of a CUDA device.
  NcclTransport& on(c10::Device device);
  /// Collective when called first with that many bytes. Null when ranks do not share memory, or not for that
  /// few.
  SharedMemory* memory_for(std::size_t bytes);
  /// Tells the observer; what comes back is to be waited for.
  [[nodiscard]] std::shared_ptr<Work::State> pretend(const char* operation, const at::Tensor& input,
                                                     const at::Tensor& larger) const;
  void pretend(const char* operation, double bytes, double moved) const;
  /// Of the next communicator made from this one, equal on all of its ranks.
  std::uint64_t next_child(int color) noexcept;
  [[nodiscard]] MPI_Comm comm() const noexcept { return queue ? queue->comm() : alone.get(); }
};

}  // namespace cohort::comm
