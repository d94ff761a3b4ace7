#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>

#include "cohort/comm/flight_recorder.h"

namespace cohort::comm {

/// What set_activity() was called with last. Safe in signal handlers.
struct Activity {
  std::int64_t step = 0;
  const char* stage = "";
  std::int64_t since = 0;  ///< clock_nanoseconds()
};
Activity activity() noexcept;

/// Name of a blocking MPI call that this process is in, a literal; null: none. Safe in signal handlers.
const char* blocking_call() noexcept;
void set_blocking_call(const char* name) noexcept;

void add_waiting_time(std::chrono::nanoseconds time) noexcept;  ///< of the calling thread

}  // namespace cohort::comm
