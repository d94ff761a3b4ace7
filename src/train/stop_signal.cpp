#include "train/stop_signal.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <unistd.h>

#include "cohort/train/trainer.h"

namespace cohort::train {
namespace {

std::atomic<bool> stop_received{false}, interrupted{false}, save_received{false}, speaks{false},
    is_terminal{false};
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
  if (is_terminal) say("\n");
  say("stopping after this step, saving");
  say(signal == SIGINT ? "; press Ctrl-C again to end at once\n" : "\n");
  errno = error;
}

extern "C" void remember_save(int /*signal*/) {
  save_received = true;
}

auto handler_of(int signal) {
  struct sigaction now {};
  ::sigaction(signal, nullptr, &now);
  return now.sa_handler;
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

void ignore_stop_signals(const StopConfig& config) {
  for (const std::string& name : config.signals) {
    const int number = stop_signal_number(name).value();
    struct sigaction action {};
    // MPI's end can hang: Ctrl-C ends that.
    action.sa_handler = number == SIGINT && handler_of(SIGINT) != SIG_IGN ? SIG_DFL : SIG_IGN;
    sigaction(number, &action, nullptr);
  }
}

StopSignal::StopSignal(std::span<const std::string> names, bool first_rank) {
  stop_received = interrupted = save_received = false;
  speaks = first_rank;
  is_terminal = ::isatty(STDERR_FILENO) == 1;
  replaced_.reserve(names.size() + 1);
  for (const std::string& name : names) {
    const int number = stop_signal_number(name).value();
    if (number == SIGINT && handler_of(SIGINT) == SIG_IGN) continue;  // in the background of a script
    if (handler_of(number) == remember_stop) continue;                // named twice
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

StopSignal::~StopSignal() {
  for (const Replaced& replaced : replaced_) {
    const auto now = handler_of(replaced.number);
    if (now == remember_stop || now == remember_save) sigaction(replaced.number, &replaced.before, nullptr);
  }
}

bool StopSignal::received() const noexcept {
  return stop_received;
}

bool StopSignal::take_continued() noexcept {
  return save_received.exchange(false);
}

}  // namespace cohort::train
