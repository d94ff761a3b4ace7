#pragma once
#include <cstddef>
#include <memory>

#include "comm/operation_queue.h"

namespace cohort::comm {

/// Memory that all ranks of a communicator have mapped, if they run on one node: two halves a rank, which
/// chunks of an operation use in turn. A rank writes to its own half, then all meet in a barrier, then each
/// may read those of the others. One barrier a chunk is enough: a half is written again two chunks later, and
/// whoever entered the barrier of the chunk between has read what it wanted.
class SharedMemory {
 public:
  /// Collective. Null on all ranks when they are on several nodes or one of them gets no memory.
  static std::unique_ptr<SharedMemory> open(OperationQueue& queue, int rank, int size);
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory();

  [[nodiscard]] std::size_t half_bytes() const noexcept { return half_bytes_; }
  /// That half of `rank` which the chunk at hand uses.
  [[nodiscard]] std::byte* half(int rank) const noexcept {
    return start_ + (static_cast<std::size_t>(rank) * 2 + turn_) * half_bytes_;
  }
  void next_chunk() noexcept { turn_ = 1 - turn_; }

 private:
  SharedMemory(std::byte* start, int size);

  std::byte* start_;
  std::size_t half_bytes_, bytes_;
  std::size_t turn_ = 0;
};

}  // namespace cohort::comm
