#include "comm/blocking_call.h"

#include <chrono>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

#include "comm/activity.h"
#include "comm/end_job.h"
#include "comm/missing.h"
#include "comm/mpi_call.h"
#include "comm/watchdog.h"

namespace cohort::comm {
namespace {

// Ranks that are not in that call, or say nothing.
std::string missing_from(const char* call) {
  Watchdog* const watchdog = Watchdog::instance();
  if (watchdog == nullptr) return "other ranks";
  return list_of_ranks(watchdog->survey({0, {}, ShortText<32>(call)}, watchdog->everybody()));
}

}  // namespace

BlockingCall::BlockingCall(const char* name)
    : name_(name), thread_([this](const std::stop_token& stop) { watch(stop); }) {
  set_blocking_call(name);
}

BlockingCall::~BlockingCall() {
  set_blocking_call(nullptr);
}

void BlockingCall::watch(const std::stop_token& stop) {
  const auto timeout = operation_timeout();
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, stop, timeout, [] { return false; });
  if (stop.stop_requested()) return;
  const RankError error(
      {fmt::format("{} waited {} for {}", name_, format_duration(timeout), missing_from(name_)),
       {},
       late_ranks_fix()});
  end_job(describe(std::make_exception_ptr(error)));
}

}  // namespace cohort::comm
