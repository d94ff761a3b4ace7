#include "cohort/core/trace.h"

#include <array>
#include <mutex>
#include <utility>

namespace cohort {
namespace {

// A step has some hundreds of spans: one lock is not felt.
struct Recorder {
  std::mutex mutex;
  std::vector<TraceRecord> records;
  TraceClock::time_point started;
};

Recorder& recorder() {
  static auto& instance = *new Recorder;  // threads may outlive static objects
  return instance;
}

std::string& lane_of_thread() {
  thread_local std::string lane = "compute";
  return lane;
}

}  // namespace

std::string_view trace_kind_name(TraceKind kind) noexcept {
  constexpr std::array<std::string_view, 9> kNames{"step",       "data",       "forward",
                                                   "backward",   "wait",       "optimizer",
                                                   "evaluation", "checkpoint", "communication"};
  static_assert(kNames.size() == static_cast<std::size_t>(TraceKind::communication) + 1);
  return kNames[static_cast<std::size_t>(kind)];
}

void start_trace() {
  const std::lock_guard lock(recorder().mutex);
  recorder().records.clear();
  recorder().started = TraceClock::now();
  detail::tracing = true;
}

std::vector<TraceRecord> stop_trace() {
  const std::lock_guard lock(recorder().mutex);
  detail::tracing = false;
  return std::exchange(recorder().records, {});
}

void record_trace(TraceRecord record) {
  const std::lock_guard lock(recorder().mutex);
  if (is_tracing() && record.begin >= recorder().started) recorder().records.push_back(std::move(record));
}

void name_trace_lane(std::string_view lane) {
  lane_of_thread() = lane;
}

void TraceSpan::begin(TraceKind kind, std::string name) {
  record_ = {kind, lane_of_thread(), std::move(name), TraceClock::now(), {}, 0};
}

void TraceSpan::end() noexcept {
  record_.end = TraceClock::now();
  try {
    record_trace(std::move(record_));
  } catch (...) {  // out of memory: a trace with a span less
  }
}

}  // namespace cohort
