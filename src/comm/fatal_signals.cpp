#include "comm/fatal_signals.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <pthread.h>
#include <string_view>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>

#include "comm/activity.h"
#include "comm/operation_history.h"
#include "comm/signal_thread.h"

namespace cohort::comm {
namespace {

using namespace std::chrono_literals;

struct FatalSignal {
  int number;
  const char* name;
  struct sigaction before;
};
std::array<FatalSignal, 5> fatal_signals{{{SIGSEGV, "SIGSEGV", {}},
                                          {SIGABRT, "SIGABRT", {}},
                                          {SIGBUS, "SIGBUS", {}},
                                          {SIGFPE, "SIGFPE", {}},
                                          {SIGILL, "SIGILL", {}}}};
int rank_for_signals = 0, size_for_signals = 1;
pthread_t main_thread;
std::array<char, 4096> report_folder{}, report_file{}, report_beside{};

// The functions down to on_fatal_signal() run in signal handlers: no memory, no locks.

/// Text of a fixed size; what does not fit is cut off.
class SignalText {
 public:
  SignalText& operator<<(std::string_view text) noexcept {
    const std::size_t n = std::min(text.size(), text_.size() - used_);
    std::memcpy(text_.data() + used_, text.data(), n);
    used_ += n;
    return *this;
  }
  SignalText& operator<<(std::int64_t value) noexcept {
    std::array<char, 20> digits{};
    std::size_t first = digits.size();
    const bool negative = value < 0;
    auto rest = negative ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
    do {
      digits[--first] = static_cast<char>('0' + rest % 10);
      rest /= 10;
    } while (rest != 0 && first > 0);
    if (negative) *this << "-";
    return *this << std::string_view(digits.data() + first, digits.size() - first);
  }
  void clear() noexcept { used_ = 0; }
  void write_to(int descriptor) const noexcept {
    std::size_t done = 0;
    while (done < used_) {
      const ssize_t n = ::write(descriptor, text_.data() + done, used_ - done);
      if (n <= 0) return;
      done += static_cast<std::size_t>(n);
    }
  }

 private:
  std::array<char, 16384> text_;
  std::size_t used_ = 0;
};

constexpr std::size_t kOfTheHandler = 3;  // take_stack(), the handler, and what the system calls it through

void append(SignalText& text, const OperationHistory& history, const OperationRecord& record) noexcept {
  text << record.operation.text() << " of " << record.bytes << " B (operation " << record.sequence
       << " of communicator '" << history.name() << "'), "
       << (record.ended != 0   ? "done"
           : record.began != 0 ? "under way"
                               : "not begun");
}

/// A line for each communicator that is in use: where it stands.
void append_operations(SignalText& text) noexcept {
  for (const OperationHistory* history = first_history(); history != nullptr; history = history->next()) {
    const OperationRecord record = history->current();
    if (!history->in_use() || record.sequence == 0) continue;
    text << "  operation: ";
    append(text, *history, record);
    text << "\n";
  }
}

void append(SignalText& text, const CallPlace& place) noexcept {
  text << "  " << (place.function != nullptr ? place.function : "?");
  if (place.file != nullptr) text << " at " << place.file << ":" << std::int64_t{place.line};
  text << "\n";
}

/// Lines of code, as far as they can be found: the rest of the report is on the disk by now.
void write_places(const Stack& stack, int descriptor) noexcept {
  struct Writer {
    SignalText text;
    int descriptor;
  };
  static Writer to;
  to.descriptor = descriptor;
  to.text << "places of these addresses (c++filt makes names readable):\n";
  to.text.write_to(descriptor);
  const auto write = [](void* all, const CallPlace& place) {  // each by itself: names may be long
    auto& [text, file] = *static_cast<Writer*>(all);
    text.clear();
    append(text, place);
    text.write_to(file);
  };
  visit_places(stack, write, &to);
}

void write_fatal_report(const SignalText& text, const Stack& stack) noexcept {
  if (report_file[0] == 0) return;
  ::mkdir(report_folder.data(), 0777);
  const int descriptor =
      ::open(report_beside.data(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (descriptor < 0) return;
  text.write_to(descriptor);
  write_addresses(stack, descriptor);
  ::fsync(descriptor);
  ::rename(report_beside.data(), report_file.data());
  write_places(stack, descriptor);
  ::close(descriptor);
}

void on_fatal_signal(int number) {
  static std::atomic_flag reported = ATOMIC_FLAG_INIT;
  const int error = errno;
  FatalSignal* met = fatal_signals.data();
  while (met->number != number) ++met;
  if (!reported.test_and_set()) {
    static SignalText text;  // not on a stack that may be at its end
    static Stack stack;
    take_stack(stack, kOfTheHandler);
    const Activity now = activity();
    text << "[rank " << rank_for_signals << "/" << size_for_signals << "] cohort: " << met->name
         << " in step " << now.step << ", " << now.stage << "\n";
    append_operations(text);
    text.write_to(STDERR_FILENO);
    write_fatal_report(text, stack);
  }
  ::sigaction(number, &met->before, nullptr);
  errno = error;
  ::raise(number);  // pending until this handler returns
}

Stack main_stack;
std::atomic<bool> has_main_stack{false};
const int kStackSignal = SIGRTMIN + 5;

void on_stack_signal(int) {
  const int error = errno;
  take_stack(main_stack, kOfTheHandler);
  has_main_stack.store(true, std::memory_order_release);
  errno = error;
}

}  // namespace

void report_fatal_signals(int rank, int size) {
  static bool installed = false;
  if (std::exchange(installed, true)) return;
  rank_for_signals = rank;
  size_for_signals = size;
  main_thread = ::pthread_self();
  use_signal_stack();
  prepare_stacks();
  struct sigaction action {};
  action.sa_handler = on_fatal_signal;
  action.sa_flags = SA_ONSTACK;
  for (FatalSignal& signal : fatal_signals) ::sigaction(signal.number, &action, &signal.before);
  action.sa_handler = on_stack_signal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  ::sigaction(kStackSignal, &action, nullptr);
}

void set_fatal_report(const std::string& folder, const std::string& file) {
  const auto keep = [](std::array<char, 4096>& where, const std::string& path) {
    where[path.copy(where.data(), where.size() - 1)] = 0;
  };
  report_file[0] = 0;
  keep(report_folder, folder);
  keep(report_beside, file + ".part");
  keep(report_file, file);
}

Stack stack_of_main_thread() {
  has_main_stack = false;
  if (::pthread_kill(main_thread, kStackSignal) != 0) return {};
  for (int waited = 0; !has_main_stack.load(std::memory_order_acquire) && waited < 500; ++waited)
    std::this_thread::sleep_for(1ms);
  return has_main_stack.load(std::memory_order_acquire) ? main_stack : Stack{};
}

}  // namespace cohort::comm
