#include "comm/rank_status.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/text.h"

#include "comm/activity.h"

namespace cohort::comm {
namespace {

using State = OperationStatus::State;

double seconds_since(std::int64_t time) {
  return static_cast<double>(std::max<std::int64_t>(clock_nanoseconds() - time, 0)) * 1e-9;
}

std::string duration(double seconds) {
  return format_duration(std::chrono::duration<double>(seconds));
}

std::int64_t last_change(const OperationRecord& record) {
  return std::max({record.submitted, record.began, record.ended});
}

std::string state_text(const OperationStatus& operation) {
  const std::string time = duration(operation.seconds);
  switch (operation.state) {
    case State::done:
      return "done " + time + " ago";
    case State::under_way:
      return "under way for " + time;
    default:
      return "submitted " + time + " ago, not begun";
  }
}

}  // namespace

OperationStatus status_of(const OperationHistory& history, const OperationRecord& record) {
  OperationStatus status;
  if (record.sequence == 0) return status;
  status.sequence = record.sequence;
  status.bytes = record.bytes;
  status.state = record.ended != 0 ? State::done : record.began != 0 ? State::under_way : State::submitted;
  status.seconds = seconds_since(last_change(record));
  status.operation = record.operation;
  status.communicator = ShortText<24>(history.name());
  return status;
}

RankStatus status_now() {
  RankStatus status;
  const Activity now = activity();
  status.step = now.step;
  status.stage = ShortText<24>(now.stage);
  status.stage_seconds = now.since == 0 ? 0.0 : seconds_since(now.since);
  if (const char* const call = blocking_call()) status.blocking_call = ShortText<32>(call);
  std::pair<bool, std::int64_t> newest{false, 0};  // one under way before those that are done
  // Released ones too: an exception that is reported has ended its communicators.
  for (const OperationHistory* history = first_history(); history != nullptr; history = history->next()) {
    const OperationRecord record = history->current();
    const std::pair<bool, std::int64_t> age{record.began != 0 && record.ended == 0, last_change(record)};
    if (record.sequence == 0 || age <= newest) continue;
    newest = age;
    status.last = status_of(*history, record);
  }
  return status;
}

std::string name_of(const OperationStatus& operation) {
  return fmt::format("{} of {} B (operation {} of communicator '{}')", operation.operation.text(),
                     operation.bytes, operation.sequence, operation.communicator.text());
}

std::string describe(const OperationStatus& operation) {
  return fmt::format("{}, {}", name_of(operation), state_text(operation));
}

std::string place_of(const RankStatus& status) {
  if (status.step == 0 && status.stage.text().empty()) return "outside of training";
  if (status.step == 0) return std::string(status.stage.text());
  return fmt::format("step {}, {}", status.step, status.stage.text());
}

std::string describe(const RankStatus& status) {
  std::string text = place_of(status);
  if (status.stage_seconds > 0) text += " for " + duration(status.stage_seconds);
  if (!status.blocking_call.text().empty()) text += fmt::format("; in {}", status.blocking_call.text());
  if (status.last.sequence == 0) return text;
  return text + "; " + describe(status.last);
}

}  // namespace cohort::comm
