#pragma once
#include <chrono>
#include <cstdint>

namespace cohort::comm {

/// Since when this process does nothing: no collective and none under way, no new stage, hardly any processor
/// time, hardly a byte read or written. One thread looks; the time that itself takes does not count.
class Standstill {
 public:
  /// To be called about once a second. While the process is stopped, or a debugger holds it, no time passes.
  std::chrono::nanoseconds look();

 private:
  using Clock = std::chrono::steady_clock;
  struct Signs {
    std::int64_t operations = 0;  // begun and done
    bool is_waiting = false;      // for other ranks: they have time-outs of their own
    std::int64_t stage_since = 0;
    std::chrono::nanoseconds busy{0};
    std::int64_t interruptions = 0;  // by others that want the processor: there was something to do
    std::int64_t bytes = 0;
  };
  static Signs signs();

  Signs before_ = signs();
  Clock::time_point looked_ = Clock::now();
  std::chrono::nanoseconds still_{0};
};

}  // namespace cohort::comm
