#include "train/stop_request.h"

#include <array>
#include <cstddef>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/log.h"
#include "cohort/core/text.h"

#include "train/slurm_job.h"

namespace cohort::train {
namespace {

constexpr const char *kStopFile = "STOP", *kSaveFile = "SAVE";

struct ReasonTexts {
  const char *name, *description;
};
constexpr std::array<ReasonTexts, 3> kReasons{{{"signal", "a signal"},  // in the order of StopRequest::Reason
                                               {"time limit", "the end of the job's time"},
                                               {"file", "the file STOP"}}};

/// When a run has to stop, so that its last checkpoint is done before the job's time is over.
std::optional<std::chrono::system_clock::time_point> latest_stop(std::chrono::seconds margin) {
  if (margin.count() == 0) return std::nullopt;
  const auto end = slurm_job_end();
  if (!end) return std::nullopt;
  const auto left = *end - std::chrono::system_clock::now();
  log_info(fmt::format("the job's time ends in {}; the run stops {} before (train.stop.margin)",
                       format_duration(left), format_duration(margin)));
  if (left <= margin)
    log_warning("the job's time ends within train.stop.margin: the run stops after its first step");
  return *end - margin;
}

}  // namespace

StopRequest::StopRequest(const StopConfig& config, std::filesystem::path run_folder, bool first_rank)
    : signal_(config.signals, first_rank), folder_(std::move(run_folder)), first_rank_(first_rank) {
  if (first_rank) end_ = latest_stop(config.margin);
}

StopRequest::Wish StopRequest::look() {
  if (first_rank_) look_at_folder();
  if (first_rank_ && signal_.take_continued()) continued_ = true;
  if (signal_.received()) {
    reason_ = Reason::signal;
  } else if (time_is_over()) {
    reason_ = Reason::time_limit;
  } else if (stop_file_) {
    reason_ = Reason::file;
  }
  return {signal_.received() || time_is_over() || stop_file_, save_file_ || continued_};
}

bool StopRequest::time_is_over() const {
  return end_ && std::chrono::system_clock::now() >= *end_;
}

void StopRequest::look_at_folder() {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_look_) return;
  next_look_ = now + std::chrono::seconds(1);
  std::error_code ignored;
  stop_file_ = std::filesystem::exists(folder_ / kStopFile, ignored);
  save_file_ = std::filesystem::exists(folder_ / kSaveFile, ignored);
}

void StopRequest::saved() {
  if (std::exchange(continued_, false)) log_info("saved, because SIGCONT came");
  if (!std::exchange(save_file_, false)) return;
  remove(kSaveFile);
  log_info("saved, as the file SAVE asked");
}

void StopRequest::stopped() {
  if (std::exchange(stop_file_, false)) remove(kStopFile);
}

void StopRequest::remove(const char* name) const {
  std::error_code error;
  std::filesystem::remove(folder_ / name, error);
  if (error)
    log_warning(fmt::format("cannot remove {}: {}; it will be honoured again", (folder_ / name).string(),
                            error.message()));
}

const char* name_of(StopRequest::Reason reason) noexcept {
  return kReasons[static_cast<std::size_t>(reason)].name;
}

const char* describe(StopRequest::Reason reason) noexcept {
  return kReasons[static_cast<std::size_t>(reason)].description;
}

}  // namespace cohort::train
