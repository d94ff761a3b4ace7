#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "comm/mpi_call.h"

namespace cohort::comm {

/// Where a rank stands: the operation that it waits in.
struct Position {
  std::int64_t sequence = 0;
  std::int64_t bytes = 0;
  std::array<char, 32> operation{};
};

/// Finds out which ranks are missing from an operation, over a communicator of its own. Only ranks that wait
/// in an operation answer; one that computes, hangs or is dead stays silent.
class RollCall {
 public:
  explicit RollCall(MpiComm comm);
  /// Answers the questions that have arrived. Cheap; called now and then by ranks that wait.
  void answer(const Position& mine);
  /// Asks every rank, listens for up to `grace`; an entry per rank, empty for the silent ones.
  std::vector<std::optional<Position>> ask(const Position& mine, std::chrono::milliseconds grace);
  /// Gives up the communicator without freeing it: messages may still be under way.
  void abandon() noexcept { comm_.release(); }

 private:
  void send(int rank, int tag, const Position& mine);
  bool everyone_heard(std::int64_t sequence) const;

  MpiComm comm_;
  int rank_;
  std::vector<std::optional<Position>> heard_;
  std::deque<Position> sent_;  // MPI reads from here: the addresses must stay
};

/// Ranks that have not reached operation `sequence`.
std::vector<int> missing_ranks(const std::vector<std::optional<Position>>& heard, std::int64_t sequence);
/// "rank 1 called broadcast i64 of 8 B" for the first rank in another operation at the same sequence number,
/// else empty.
std::string mismatch(const std::vector<std::optional<Position>>& heard, const Position& mine);

}  // namespace cohort::comm
