#include "train/stop_signal.h"

#include <array>
#include <atomic>

namespace cohort::train {
namespace {

std::atomic<bool> stop_received{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may only use lock-free atomics");

extern "C" void remember_stop(int /*signal*/) {
  stop_received = true;
}

struct NamedSignal {
  std::string_view name;
  int number;
};
constexpr std::array<NamedSignal, 6> kStopSignals{{{"TERM", SIGTERM},
                                                   {"USR1", SIGUSR1},
                                                   {"USR2", SIGUSR2},
                                                   {"INT", SIGINT},
                                                   {"HUP", SIGHUP},
                                                   {"XCPU", SIGXCPU}}};

}  // namespace

std::optional<int> stop_signal_number(std::string_view name) noexcept {
  for (const NamedSignal& known : kStopSignals) {
    if (known.name == name) return known.number;
  }
  return std::nullopt;
}

std::vector<std::string> stop_signal_names() {
  std::vector<std::string> names;
  for (const NamedSignal& known : kStopSignals) names.emplace_back(known.name);
  return names;
}

void ignore_signals(std::span<const std::string> names) {
  struct sigaction action {};
  action.sa_handler = SIG_IGN;
  for (const std::string& name : names) sigaction(stop_signal_number(name).value(), &action, nullptr);
}

StopSignal::StopSignal(std::span<const std::string> names) {
  stop_received = false;
  struct sigaction action {};
  action.sa_handler = remember_stop;
  action.sa_flags = SA_RESTART;
  replaced_.reserve(names.size());
  for (const std::string& name : names) {
    const int number = stop_signal_number(name).value();
    sigaction(number, &action, &replaced_.emplace_back(Replaced{number, {}}).before);
  }
}

// The other way round: of a signal that was named twice the first one knows what was there before.
StopSignal::~StopSignal() {
  for (auto replaced = replaced_.rbegin(); replaced != replaced_.rend(); ++replaced) {
    struct sigaction now {};
    sigaction(replaced->number, nullptr, &now);
    if (now.sa_handler == remember_stop) sigaction(replaced->number, &replaced->before, nullptr);
  }
}

bool StopSignal::received() const noexcept {
  return stop_received;
}

}  // namespace cohort::train
