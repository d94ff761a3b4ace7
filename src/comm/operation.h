#pragma once
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "cohort/comm/communicator.h"

#include "comm/mpi_call.h"

namespace cohort::comm {

class OperationQueue;

/// What a step works with. Operations of one queue run one after another, so that they share `scratch`.
struct Transport {
  MPI_Comm comm;
  int rank, size;
  std::vector<std::byte> scratch;
};

/// Posts one non-blocking MPI call and returns its request, or MPI_REQUEST_NULL after purely local work.
using Post = std::function<MPI_Request(Transport&)>;

/// Does what can be done without waiting for other ranks, and is called again until it is done.
enum class Progress { none, some, done };
using Poll = std::function<Progress(Transport&)>;

/// Owns (by capture) every buffer that it or MPI reads or writes until the operation is done.
using Step = std::variant<Post, Poll>;

/// One collective: steps that run one after another, each when the one before is complete.
struct Operation {
  std::string name;        ///< "all_reduce f32"
  std::int64_t bytes = 0;  ///< equal on all ranks; 0 when it may differ
  std::vector<Step> steps;
};

struct Work::State {
  // MPI
  Operation operation;
  OperationQueue* queue = nullptr;  ///< valid until `done`
  std::int64_t sequence = 0;
  std::size_t next_step = 0;
  bool polled = false;  ///< the next step has begun and is not done
  MPI_Request request = MPI_REQUEST_NULL;
  std::chrono::steady_clock::time_point began{}, step_started{};
  std::exception_ptr error;  ///< written before `done`
  std::atomic<bool> done{false};
  // NCCL: makes the current stream wait; throws when the communicator has failed.
  std::function<void()> wait_on_device;
};

}  // namespace cohort::comm
