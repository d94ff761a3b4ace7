#include "train/stop_signal.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <unistd.h>

namespace cohort::train {
namespace {

std::atomic<bool> stop_received{false}, interrupted{false}, save_received{false}, speaks{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may only use lock-free atomics");
struct sigaction before_interrupt {};  // what a second Ctrl-C does

void say(std::string_view text) noexcept {
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
}

// Its line is for who has pressed Ctrl-C, and cannot wait for the end of a long step.
extern "C" void remember_stop(int signal) {
  if (signal == SIGINT && interrupted.exchange(true)) {
    ::sigaction(SIGINT, &before_interrupt, nullptr);
    ::raise(SIGINT);  // pending until this handler returns
    return;
  }
  if (stop_received.exchange(true) || !speaks) return;
  const int error = errno;
  if (::isatty(STDERR_FILENO) == 1) say("\n");
  say("stopping after this step, saving");
  say(signal == SIGINT ? "; press Ctrl-C again to end at once\n" : "\n");
  errno = error;
}

extern "C" void remember_save(int /*signal*/) {
  save_received = true;
}

bool is_ignored(int signal) {
  struct sigaction now {};
  ::sigaction(signal, nullptr, &now);
  return now.sa_handler == SIG_IGN;
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

StopSignal::StopSignal(std::span<const std::string> names, bool first_rank) {
  stop_received = interrupted = save_received = false;
  speaks = first_rank;
  replaced_.reserve(names.size() + 1);
  for (const std::string& name : names) {
    const int number = stop_signal_number(name).value();
    if (number == SIGINT && is_ignored(SIGINT)) continue;  // in the background of a script
    if (number == SIGINT) sigaction(SIGINT, nullptr, &before_interrupt);
    replace(number, remember_stop);
  }
  replace(SIGCONT, remember_save);
}

void StopSignal::replace(int number, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaction(number, &action, &replaced_.emplace_back(Replaced{number, {}}).before);
}

// The other way round: of a signal that was named twice the first one knows what was there before.
StopSignal::~StopSignal() {
  for (auto replaced = replaced_.rbegin(); replaced != replaced_.rend(); ++replaced) {
    struct sigaction now {};
    sigaction(replaced->number, nullptr, &now);
    if (now.sa_handler == remember_stop || now.sa_handler == remember_save)
      sigaction(replaced->number, &replaced->before, nullptr);
  }
}

bool StopSignal::received() const noexcept {
  return stop_received;
}

bool StopSignal::take_continued() noexcept {
  return save_received.exchange(false);
}

}  // namespace cohort::train
