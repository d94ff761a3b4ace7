#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cohort/core/file.h"

#include "comm/mpi_call.h"
#include "comm/rank_status.h"

namespace cohort::comm {

/// What a rank answers when it is asked for an operation.
struct Answer {
  RankStatus status;
  OperationStatus asked;   ///< that operation there; or another one of its communicator, if it is not there
  std::int64_t ended = 0;  ///< operations of the communicator that are done there
  [[nodiscard]] bool has_reached(std::int64_t sequence) const noexcept;
};

/// A thread of each process that speaks for it with the other ranks, whatever its other threads do: it tells
/// them where it stands, compares the schedules of collectives with its neighbours, and notices when a
/// neighbour dies (docs/decisions/0007-flight-recorder.md). One a process; none with one rank.
class Watchdog {
 public:
  /// Collective over the world; once. MPI_Finalize stops it.
  static void start();
  /// Null: not started, or stopped.
  static Watchdog* instance() noexcept;

  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// Asks ranks of the world where they stand with an operation (id 0: only what they do), and listens for up
  /// to `grace`; an entry for each of `ranks`, empty for the silent ones. Any thread.
  std::vector<std::optional<Answer>> ask(const std::vector<int>& ranks, std::uint64_t id,
                                         std::int64_t sequence, std::chrono::milliseconds grace);
  /// The same of all ranks.
  std::vector<std::optional<Answer>> ask_all(std::chrono::milliseconds grace);
  /// Many ranks see one failure: whether this one is to tell of it. Takes a moment.
  bool may_speak();
  /// A line a rank: host and what it does, for those that have been asked, the ones without answer first.
  [[nodiscard]] std::string table();
  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] const std::string& host(int rank) const { return hosts_[static_cast<std::size_t>(rank)]; }

 private:
  struct Message;
  struct HistoryMessage;
  struct Sent;
  struct Known {  // of another rank
    bool asked = false, answered = false;
    Answer answer;
    std::optional<RankStatus> heard;  // what it said unasked
    std::chrono::steady_clock::time_point heard_at;
  };

  explicit Watchdog(MpiComm comm);
  ~Watchdog();
  static int stop(MPI_Comm, int, void*, void*);  // called by MPI_Finalize

  void gather_hosts();
  void watch(const std::stop_token& stop);
  void look_around();
  void pause();  // until the neighbour dies or a moment has passed
  void tell_of_neighbour();
  void beat();
  void beat(const OperationHistory& history);
  void receive();  // caller holds mutex_
  void take(const Message& message, int from, int tag);
  void answer(const Message& question, int to);
  void compare(const Message& beat, int from);
  void send_history(std::uint64_t id, int to);
  void take_history(const HistoryMessage& theirs, int from);
  template <class T>
  void send(const T& message, int to, int tag);
  void forget_sent();
  [[nodiscard]] std::string line(int rank) const;

  MpiComm comm_;
  int rank_, size_;
  std::vector<std::string> hosts_;
  FileDescriptor wake_, neighbour_;  // readable: stop; the rank before this one, on the same host, is dead
  std::mutex mutex_;                 // guards all below
  std::vector<Known> known_;
  std::deque<std::unique_ptr<Sent>> sent_;
  std::chrono::steady_clock::time_point next_beat_{};
  std::optional<std::chrono::steady_clock::time_point> claimed_by_other_;
  bool claimed_by_lower_ = false;
  std::string divergence_;   // what is to be told of it
  bool report_due_ = false;  // another rank asks: it has met a failure
  std::jthread thread_;      // last: it uses all of the above
};

}  // namespace cohort::comm
