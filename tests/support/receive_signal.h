#pragma once
#include <csignal>
#include <pthread.h>
#include <thread>

namespace cohort::testing {

/// As if another process sent it to this one: handled before this returns, on another thread, since ranks
/// block signals on those that compute.
inline void receive_signal(int number) {
  std::thread([number] {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, number);
    pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
    std::raise(number);
  }).join();
}

}  // namespace cohort::testing
