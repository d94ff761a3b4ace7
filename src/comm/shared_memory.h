#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

#include "comm/operation_queue.h"

namespace cohort::comm {

/// Memory that all ranks of a communicator have mapped, if they run on one node: some slots a rank, which the
/// chunks of its operations use in turn, and counters of how far each rank has come. A chunk goes through
/// stages: every rank writes to its slot, may reduce what it finds in those of the others, and reads. Ranks
/// wait for each other's counters alone, so that one that is late by less than its slots delays nobody.
class SharedMemory {
 public:
  enum class Stage { write, reduce, read };

  /// Collective. Null on all ranks when they are on several nodes or one of them gets no memory.
  static std::unique_ptr<SharedMemory> open(OperationQueue& queue, int rank, int size);
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory();

  [[nodiscard]] std::size_t slot_bytes() const noexcept { return slot_bytes_; }
  [[nodiscard]] static std::size_t slots() noexcept;
  /// The number of the first of `count` chunks; they are counted over all operations, on all ranks alike.
  [[nodiscard]] std::uint64_t next_chunks(std::uint64_t count) noexcept;
  [[nodiscard]] std::byte* slot(int rank, std::uint64_t chunk) const noexcept;

  /// This rank is through with a stage of a chunk; chunks come to each stage in order.
  void finish(Stage stage, std::uint64_t chunk) noexcept;
  /// Whether all other ranks are.
  [[nodiscard]] bool all_finished(Stage stage, std::uint64_t chunk) const noexcept;

 private:
  struct Counters;

  SharedMemory(std::byte* start, int rank, int size);
  [[nodiscard]] Counters& counters(int rank) const noexcept;

  std::byte* start_;
  int rank_, size_;
  std::size_t slot_bytes_, bytes_;
  std::uint64_t next_ = 0;
};

}  // namespace cohort::comm
