#include "comm/interrupt.h"

#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <string_view>
#include <unistd.h>

namespace cohort::comm {
namespace {

constexpr std::size_t kMostBytes = 128;
std::array<char, kMostBytes> interrupt_line{};
std::atomic<std::size_t> interrupt_bytes{0};

// The default action ends the process without destructors, while its other threads work.
extern "C" void on_interrupt(int signal) {
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, interrupt_line.data(), interrupt_bytes);
  ::signal(signal, SIG_DFL);
  ::raise(signal);  // pending until this handler returns
}

}  // namespace

void end_by_interrupt(const std::string& program) {
  struct sigaction now {};
  ::sigaction(SIGINT, nullptr, &now);
  if (now.sa_handler == SIG_IGN) return;
  const std::string_view before = ::isatty(STDERR_FILENO) == 1 ? "\n" : "";  // behind the terminal's ^C
  const std::string text = std::string(before) + program + ": ended by Ctrl-C\n";
  interrupt_bytes = 0;
  interrupt_bytes = text.copy(interrupt_line.data(), interrupt_line.size());
  now.sa_handler = on_interrupt;
  now.sa_flags = 0;
  ::sigaction(SIGINT, &now, nullptr);
}

void end_silently_by_interrupt() noexcept {
  interrupt_bytes = 0;
}

}  // namespace cohort::comm
