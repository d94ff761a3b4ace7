#include "comm/roll_call.h"

#include <thread>
#include <utility>

#include <fmt/format.h>

namespace cohort::comm {
namespace {

constexpr int kQuestion = 1;
constexpr int kAnswer = 2;
constexpr int kPositionBytes = static_cast<int>(sizeof(Position));

}  // namespace

RollCall::RollCall(MpiComm comm)
    : comm_(std::move(comm)),
      rank_(rank_in(comm_.get())),
      heard_(static_cast<std::size_t>(size_of(comm_.get()))) {}

void RollCall::answer(const Position& mine) {
  while (true) {
    int found = 0;
    MPI_Status status;
    check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm_.get(), &found, &status), "MPI_Iprobe");
    if (found == 0) return;
    Position theirs;
    check_mpi(MPI_Recv(&theirs, kPositionBytes, MPI_BYTE, status.MPI_SOURCE, status.MPI_TAG, comm_.get(),
                       MPI_STATUS_IGNORE),
              "MPI_Recv");
    heard_[static_cast<std::size_t>(status.MPI_SOURCE)] = theirs;
    if (status.MPI_TAG == kQuestion) send(status.MPI_SOURCE, kAnswer, mine);
  }
}

std::vector<std::optional<Position>> RollCall::ask(const Position& mine, std::chrono::milliseconds grace) {
  heard_[static_cast<std::size_t>(rank_)] = mine;
  for (int rank = 0; rank < std::ssize(heard_); ++rank) {
    if (rank != rank_) send(rank, kQuestion, mine);
  }
  const auto deadline = std::chrono::steady_clock::now() + grace;
  while (!everyone_heard(mine.sequence) && std::chrono::steady_clock::now() < deadline) {
    answer(mine);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return heard_;
}

bool RollCall::everyone_heard(std::int64_t sequence) const {
  return missing_ranks(heard_, sequence).empty();
}

// The message is small enough to be sent eagerly, so that a silent receiver does not hold the sender up.
void RollCall::send(int rank, int tag, const Position& mine) {
  const Position& kept = sent_.emplace_back(mine);
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Isend(&kept, kPositionBytes, MPI_BYTE, rank, tag, comm_.get(), &request), "MPI_Isend");
  check_mpi(MPI_Request_free(&request), "MPI_Request_free");
}

std::vector<int> missing_ranks(const std::vector<std::optional<Position>>& heard, std::int64_t sequence) {
  std::vector<int> missing;
  for (int rank = 0; rank < std::ssize(heard); ++rank) {
    const auto& position = heard[static_cast<std::size_t>(rank)];
    if (!position || position->sequence < sequence) missing.push_back(rank);
  }
  return missing;
}

std::string mismatch(const std::vector<std::optional<Position>>& heard, const Position& mine) {
  for (int rank = 0; rank < std::ssize(heard); ++rank) {
    const auto& theirs = heard[static_cast<std::size_t>(rank)];
    if (!theirs || theirs->sequence != mine.sequence) continue;
    if (theirs->bytes == mine.bytes && theirs->operation == mine.operation) continue;
    return fmt::format("rank {} called {} of {} B", rank, theirs->operation.data(), theirs->bytes);
  }
  return {};
}

}  // namespace cohort::comm
