#pragma once
#include <atomic>
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
#include "comm/standstill.h"
#include "comm/survey.h"

namespace cohort::comm {

/// A thread of each process that speaks for it with the other ranks, whatever its other threads do: it tells
/// them where it stands, compares the schedules of collectives with its neighbours, and notices when a
/// neighbour dies or when no rank does anything (docs/decisions/0007-flight-recorder.md). One a process; none
/// with one rank. What all ranks want to know at once is asked for by three of them, the judges, and told to
/// the others, so that messages grow with the number of ranks and not with its square.
class Watchdog {
 public:
  /// Collective over the world; once. MPI_Finalize stops it.
  static void start();
  /// Null: not started, or stopped.
  static Watchdog* instance() noexcept;

  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// Who has not come to what this rank waits for; `members`: ranks in the world of all that should. Listens
  /// for some seconds. Any thread.
  Absentees survey(const Wait& wait, const std::vector<int>& members);
  /// Many ranks see one failure: whether this one is to tell of it. Takes a moment; all know when it returns
  /// true.
  bool may_speak();
  /// A line a rank: host and what it does, for those that have been asked, the ones without answer first.
  [[nodiscard]] std::string table();
  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] std::vector<int> everybody() const;  ///< the ranks of the world
  [[nodiscard]] const std::string& host(int rank) const { return hosts_[static_cast<std::size_t>(rank)]; }

 private:
  struct Message;
  struct HistoryMessage;
  struct SurveyMessage;
  struct Survey;
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
  void look_around(Standstill& standstill);
  void tell_whether_still(bool is_still);
  void report_for_others();
  [[noreturn]] void end_still_job();
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
  [[nodiscard]] std::vector<int> judges_of(const std::vector<int>& members) const;
  std::vector<std::optional<Answer>> ask(const std::vector<int>& ranks, const Wait& wait,
                                         std::chrono::milliseconds grace);
  void ask_for_the_table(const Absentees& absent, const std::vector<int>& members);
  void take_part(const Message& request, int from);
  void note_answer(const Message& answer, int from);
  void end_surveys();
  void judge_claim(int from);
  void take_verdict(const Message& verdict);
  void claim_before(const std::vector<int>& ranks, bool asks_for_verdict);
  bool is_first_claim(std::chrono::milliseconds time);
  [[nodiscard]] bool has_verdict();
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
  std::vector<std::unique_ptr<Survey>> surveys_;  // of which this rank is a judge
  std::vector<SurveyMessage> surveyed_;           // what judges have told
  std::optional<std::chrono::steady_clock::time_point> claimed_by_other_;
  bool claimed_by_lower_ = false, has_verdict_ = false;
  std::optional<int> lowest_claim_;  // of those that this rank, a judge, was told of
  std::chrono::steady_clock::time_point first_claim_{};
  bool is_still_ = false;
  std::vector<bool> still_ranks_;  // rank 0: those that do nothing
  std::string divergence_;         // what is to be told of it
  bool report_due_ = false;        // another rank asks: it has met a failure
  std::atomic<bool> is_naming_{false};
  std::jthread naming_;  // finds the lines of code of a stack
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace cohort::comm
