#pragma once
#include <csignal>

namespace cohort::train {

/// While it lives, SIGTERM and SIGUSR2 are remembered instead of ending the process: what schedulers send
/// before they preempt a job. (Not SIGUSR1: NCCL has been seen to catch it, NVIDIA/nccl#704.) One at a time.
class StopSignal {
 public:
  StopSignal() noexcept;
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  ~StopSignal();
  [[nodiscard]] bool received() const noexcept;

 private:
  struct sigaction terminate_before_ {
  }, user_before_{};
};

}  // namespace cohort::train
