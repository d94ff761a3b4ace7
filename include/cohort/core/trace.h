#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cohort {

/// What a span of time was spent on.
enum class TraceKind {
  step,
  data,
  forward,
  backward,
  wait,
  optimizer,
  evaluation,
  checkpoint,
  communication
};

/// "forward": the name of a kind in files.
std::string_view trace_kind_name(TraceKind kind) noexcept;

using TraceClock = std::chrono::steady_clock;  ///< of one host: clocks of two hosts differ

/// A span of time. Spans of one lane nest or follow each other.
struct TraceRecord {
  TraceKind kind = TraceKind::step;
  std::string lane;  ///< what did it: "compute", "loader", "communication: gradients"
  std::string name;  ///< "forward 3"
  TraceClock::time_point begin, end;
  std::int64_t bytes = 0;  ///< that a collective was called with on this rank; 0: none
};

/// The recorder of this process. While it is off, which it is at first, nothing is kept and a span costs one
/// relaxed load. All functions may be called from any thread.

/// Begins anew. Spans that have begun before are not recorded.
void start_trace();
/// Ends; returns what was recorded, in the order in which spans ended. Spans that have not ended are left
/// out.
std::vector<TraceRecord> stop_trace();
/// Keeps `record` if the recorder was on when the span began and still is.
void record_trace(TraceRecord record);
/// The lane of spans of the calling thread; "compute" for a thread that did not say.
void name_trace_lane(std::string_view lane);

namespace detail {
inline std::atomic<bool> tracing{false};
}
inline bool is_tracing() noexcept {
  return detail::tracing.load(std::memory_order_relaxed);
}

/// Records the time from its construction to its destruction, on the lane of the thread that made it.
class TraceSpan {
 public:
  /// Its name is `name`, then `detail` ("forward ", 3): a text or a number, put together only while the
  /// recorder is on.
  explicit TraceSpan(TraceKind kind, std::string_view name, std::string_view detail = {}) {
    if (is_tracing()) begin(kind, std::string(name).append(detail));
  }
  TraceSpan(TraceKind kind, std::string_view name, std::int64_t detail) {
    if (is_tracing()) begin(kind, std::string(name) + std::to_string(detail));
  }
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;
  ~TraceSpan() {
    if (!record_.name.empty()) end();
  }

 private:
  void begin(TraceKind kind, std::string name);
  void end() noexcept;

  TraceRecord record_;  // without a name: not recorded
};

}  // namespace cohort
