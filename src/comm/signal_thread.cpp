#include "comm/signal_thread.h"

#include <array>
#include <csignal>
#include <cstddef>
#include <pthread.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace cohort::comm {
namespace {

// Faults, what a thread does to itself, and what is asked of the main thread (fatal_signals.cpp).
constexpr std::array kOfAThread{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGPIPE};

}  // namespace

void handle_signals_aside() {
  static bool done = false;
  if (std::exchange(done, true)) return;
  std::thread([] {
    while (true) ::pause();
  }).detach();
  sigset_t signals;
  sigfillset(&signals);
  for (const int number : kOfAThread) sigdelset(&signals, number);
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) sigdelset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

void use_signal_stack() {
  constexpr std::size_t kBytes = std::size_t{256} << 10;  // registers of AVX-512 and AMX alone take 11 KiB
  static std::array<std::byte, kBytes> memory;
  const stack_t stack{.ss_sp = memory.data(), .ss_flags = 0, .ss_size = memory.size()};
  ::sigaltstack(&stack, nullptr);
}

}  // namespace cohort::comm
