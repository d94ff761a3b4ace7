#include "train/stop_signal.h"

#include <atomic>

namespace cohort::train {
namespace {

std::atomic<bool> stop_received{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may only use lock-free atomics");

extern "C" void remember_stop(int /*signal*/) {
  stop_received = true;
}

}  // namespace

StopSignal::StopSignal() noexcept {
  stop_received = false;
  struct sigaction action {};
  action.sa_handler = remember_stop;
  action.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &action, &terminate_before_);
  sigaction(SIGUSR2, &action, &user_before_);
}

StopSignal::~StopSignal() {
  sigaction(SIGTERM, &terminate_before_, nullptr);
  sigaction(SIGUSR2, &user_before_, nullptr);
}

bool StopSignal::received() const noexcept {
  return stop_received;
}

}  // namespace cohort::train
