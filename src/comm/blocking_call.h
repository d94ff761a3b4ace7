#pragma once
#include <condition_variable>
#include <mutex>
#include <thread>

namespace cohort::comm {

/// Lives as long as an MPI call that blocks and cannot be left. Takes the job down when that takes longer
/// than the session's timeout, naming the ranks that are missing.
class BlockingCall {
 public:
  /// `name`: a literal, "MPI_Comm_dup".
  explicit BlockingCall(const char* name);
  BlockingCall(const BlockingCall&) = delete;
  BlockingCall& operator=(const BlockingCall&) = delete;
  ~BlockingCall();

 private:
  void watch(const std::stop_token& stop);

  const char* name_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace cohort::comm
