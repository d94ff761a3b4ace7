#include "comm/activity.h"

#include <atomic>

#include "comm/operation_history.h"

namespace cohort::comm {
namespace {

// Read separately: a report may show the stage before and the step after a change, which lasts nanoseconds.
std::atomic<std::int64_t> step_now{0}, stage_since{0};
std::atomic<const char*> stage_now{""}, blocking_call_now{nullptr};
thread_local std::chrono::nanoseconds waiting_time{0};

}  // namespace

void set_activity(std::int64_t step, const char* stage) noexcept {
  step_now.store(step, std::memory_order_relaxed);
  stage_now.store(stage, std::memory_order_relaxed);
  stage_since.store(clock_nanoseconds(), std::memory_order_relaxed);
}

Activity activity() noexcept {
  return {step_now.load(std::memory_order_relaxed), stage_now.load(std::memory_order_relaxed),
          stage_since.load(std::memory_order_relaxed)};
}

const char* blocking_call() noexcept {
  return blocking_call_now.load(std::memory_order_relaxed);
}

void set_blocking_call(const char* name) noexcept {
  blocking_call_now.store(name, std::memory_order_relaxed);
}

std::chrono::nanoseconds waited_for_ranks() noexcept {
  return waiting_time;
}

void add_waiting_time(std::chrono::nanoseconds time) noexcept {
  waiting_time += time;
}

}  // namespace cohort::comm
