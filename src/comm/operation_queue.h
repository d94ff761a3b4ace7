#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "comm/operation.h"
#include "comm/operation_history.h"

namespace cohort::comm {

/// Carries out the operations of one communicator, one at a time, in the order of enqueue(). Whoever waits
/// drives them (spinning, yielding the core); while nobody waits the communication thread does, with short
/// sleeps, so that it takes little from computation (docs/decisions/0001-communication-thread.md). Neither
/// copied nor moved: states point to it.
class OperationQueue {
 public:
  /// `id`: as open_history().
  OperationQueue(MpiComm comm, const std::string& name, std::uint64_t id);
  OperationQueue(const OperationQueue&) = delete;
  OperationQueue& operator=(const OperationQueue&) = delete;
  /// Waits for what is under way; for at most a moment while an exception unwinds, since others may never
  /// come.
  ~OperationQueue();

  /// Returns at once. The operation is carried out when somebody waits for it or a later one, or by the
  /// communication thread after carry_on().
  std::shared_ptr<Work::State> enqueue(Operation operation);
  /// The communication thread works on what has been enqueued so far.
  void carry_on();
  /// Enqueues and waits. Throws what the operation ended with.
  void run(Operation operation);
  /// Returns when `state` is done. Does not throw its error.
  void wait_for(const Work::State& state);

  [[nodiscard]] MPI_Comm comm() const noexcept { return comm_.get(); }
  [[nodiscard]] const OperationHistory& history() const noexcept { return *history_; }

 private:
  std::shared_ptr<Work::State> front();
  bool change_waiting(int by);  // true: the communication thread has to take over
  // Caller holds turn_. Fails all after the timeout. Returns how long the front operation has waited for
  // other ranks.
  std::chrono::steady_clock::duration poll();
  bool advance(Work::State& state);  // true: the operation is complete
  void begin_step(Work::State& state);
  void trace(const Work::State& state) const;
  void finish(Work::State& state);                // removes the front operation
  void fail_all(std::exception_ptr error);        // the communicator is unusable from here on
  void communicate(const std::stop_token& stop);  // body of the thread
  void drain(std::chrono::steady_clock::time_point deadline);

  MpiComm comm_;
  std::string name_;
  HistoryHandle history_;
  Transport transport_;

  std::mutex turn_;  // held by whoever drives the front operation

  std::mutex queue_mutex_;  // guards the four below
  std::deque<std::shared_ptr<Work::State>> queue_;
  std::deque<std::shared_ptr<Work::State>> abandoned_;  // MPI may still write into their buffers
  std::exception_ptr broken_;
  int waiting_ = 0;  // callers in wait_for

  std::condition_variable_any wake_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace cohort::comm
