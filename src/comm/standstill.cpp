#include "comm/standstill.h"

#include <algorithm>
#include <ctime>
#include <fstream>
#include <string>
#include <sys/resource.h>

#include "comm/activity.h"
#include "comm/operation_history.h"

namespace cohort::comm {
namespace {

using namespace std::chrono_literals;

constexpr auto kLongestLook = 2s;               // more time between two looks: it was stopped meanwhile
constexpr std::int64_t kBusyShare = 100;        // one part in so many is what idle threads use
constexpr std::int64_t kRareInterruptions = 1;  // between two looks; a starved thread has more
constexpr std::int64_t kIdleBytes = std::int64_t{64} << 10;  // a second: beats of the watchdog over TCP

std::chrono::nanoseconds time_of(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

/// The number behind `key` in a file of /proc; 0: it is not there.
std::int64_t number_in(const char* file, const std::string& key) {
  std::ifstream lines(file);
  for (std::string word; lines >> word;) {
    std::int64_t number = 0;
    if (word == key && lines >> number) return number;
    lines.ignore(256, '\n');
  }
  return 0;
}

}  // namespace

Standstill::Signs Standstill::signs() {
  Signs now;
  for_each_history([&](const OperationHistory& history) {
    now.operations += history.submitted() + history.ended();
    now.is_waiting = now.is_waiting || history.submitted() > history.ended();
  });
  now.is_waiting = now.is_waiting || blocking_call() != nullptr;
  now.stage_since = activity().since;
  now.busy = time_of(CLOCK_PROCESS_CPUTIME_ID) - time_of(CLOCK_THREAD_CPUTIME_ID);
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  now.interruptions = usage.ru_nivcsw;
  now.bytes = number_in("/proc/self/io", "rchar:") + number_in("/proc/self/io", "wchar:");
  return now;
}

std::chrono::nanoseconds Standstill::look() {
  const Signs now = signs();
  const auto time = Clock::now();
  const auto passed = std::min<Clock::duration>(time - looked_, kLongestLook);
  const auto seconds = std::chrono::duration<double>(passed).count();
  const bool is_still = !now.is_waiting && now.operations == before_.operations &&
                        now.stage_since == before_.stage_since &&
                        now.busy - before_.busy < passed / kBusyShare &&
                        now.interruptions - before_.interruptions <= kRareInterruptions &&
                        static_cast<double>(now.bytes - before_.bytes) < seconds * kIdleBytes &&
                        number_in("/proc/self/status", "TracerPid:") == 0;
  before_ = now;
  looked_ = time;
  still_ = is_still ? still_ + passed : 0ns;
  return still_;
}

}  // namespace cohort::comm
