#include "train/step_trace.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "cohort/core/file.h"
#include "cohort/core/log.h"
#include "cohort/core/trace.h"

#include "support/json.h"

namespace cohort::train {
namespace {

using std::chrono::nanoseconds;

constexpr int kClockRounds = 20;

nanoseconds now() {
  return TraceClock::now().time_since_epoch();
}

Json event(const char* phase, const std::string& name, int rank, std::int64_t lane) {
  return {{"ph", phase}, {"name", name}, {"pid", rank}, {"tid", lane}};
}

// Compute first, then communication, then what else there is.
std::map<std::string, std::int64_t> lanes_of(const std::vector<TraceRecord>& records) {
  std::map<std::pair<int, std::string>, std::string> order;
  for (const TraceRecord& record : records) {
    const int place = record.lane == "compute" ? 0 : record.kind == TraceKind::communication ? 1 : 2;
    order[{place, record.lane}] = record.lane;
  }
  std::map<std::string, std::int64_t> lanes;
  for (const auto& [place, lane] : order) lanes.try_emplace(lane, std::ssize(lanes));
  return lanes;
}

double microseconds(nanoseconds time) {
  return static_cast<double>(time.count()) / 1000.0;
}

// An event a line, without the commas between.
std::string events_of(std::vector<TraceRecord> records, nanoseconds to_zero, int rank) {
  const auto outer_first = [](const TraceRecord& a, const TraceRecord& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
  };
  std::sort(records.begin(), records.end(), outer_first);
  const auto lanes = lanes_of(records);
  std::string text;
  const auto add = [&](const Json& json) { text += (text.empty() ? "" : ",\n") + json.dump(); };
  Json process = event("M", "process_name", rank, 0);
  process["args"] = {{"name", fmt::format("rank {}", rank)}};
  add(process);
  for (const auto& [name, lane] : lanes) {
    Json thread = event("M", "thread_name", rank, lane);
    thread["args"] = {{"name", name}};
    add(thread);
  }
  for (const TraceRecord& record : records) {
    Json span = event("X", record.name, rank, lanes.at(record.lane));
    span["cat"] = trace_kind_name(record.kind);
    span["ts"] = microseconds(record.begin.time_since_epoch() + to_zero);
    span["dur"] = microseconds(record.end - record.begin);
    if (record.bytes > 0) span["args"] = {{"bytes", record.bytes}};
    add(span);
  }
  return text;
}

}  // namespace

// Rank 0 reads its clock after everybody has entered the barrier and before anybody has left the sum, so
// between `before` and `after` of each rank's clock.
ClockOffset measure_clock(comm::Communicator& ranks, const std::function<nanoseconds()>& clock) {
  ClockOffset best{{}, nanoseconds::max()};
  for (int round = 0; round < kClockRounds; ++round) {
    const nanoseconds before = clock();
    ranks.barrier();
    const nanoseconds theirs(ranks.sum(ranks.rank() == 0 ? clock().count() : std::int64_t{0}));
    const nanoseconds half = (clock() - before + nanoseconds(1)) / 2;
    if (half < best.uncertainty) best = {theirs - before - half, half};
  }
  if (ranks.rank() == 0 || std::chrono::abs(best.offset) <= best.uncertainty) return {};
  return best;
}

StepTrace::StepTrace(const std::vector<std::int64_t>& steps, std::filesystem::path file,
                     comm::Communicator& ranks)
    : file_(std::move(file)), ranks_(ranks) {
  if (steps.empty()) return;
  first_ = steps.front();
  last_ = steps.back();
}

StepTrace::~StepTrace() {
  if (records_) (void)stop_trace();
}

void StepTrace::begin_step(std::int64_t step) {
  if (records_ || step < first_ || step > last_) return;
  const ClockOffset clock = measure_clock(ranks_, now);
  const std::int64_t zero = ranks_.sum(ranks_.rank() == 0 ? now().count() : std::int64_t{0});
  to_zero_ = clock.offset - nanoseconds(zero);
  uncertainty_ = nanoseconds(ranks_.max(clock.uncertainty.count()));
  records_ = true;
  start_trace();
}

void StepTrace::end_step(std::int64_t step) {
  if (step == last_) finish();
}

void StepTrace::finish() {
  if (!std::exchange(records_, false)) return;
  const std::string mine = events_of(stop_trace(), to_zero_, ranks_.rank());
  std::string content = fmt::format(
      "{{\"displayTimeUnit\":\"ms\",\"otherData\":{{\"clock_uncertainty_us\":{}}},\"traceEvents\":[\n",
      microseconds(uncertainty_));
  // One after another: only rank 0 has to hold all of them.
  for (int rank = 0; rank < ranks_.size(); ++rank) {
    const std::string events = ranks_.broadcast_text(ranks_.rank() == rank ? mine : "", rank);
    if (ranks_.rank() == 0) content += (rank > 0 ? ",\n" : "") + events;
  }
  comm::together(ranks_, [&] {
    if (ranks_.rank() != 0) return;
    write_file_atomically(file_, content + "\n]}\n");
    log_info(fmt::format("traced steps in {}", file_.string()));
  });
}

}  // namespace cohort::train
