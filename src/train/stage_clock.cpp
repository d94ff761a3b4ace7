#include "train/stage_clock.h"

#include <numeric>
#include <utility>

#include "cohort/comm/flight_recorder.h"

namespace cohort::train {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr std::array<const char*, kStages> kStageNames{
    "data", "copy", "forward", "backward", "optimizer", "ema", "other", "evaluation", "checkpoint"};

}  // namespace

const char* stage_name(Stage stage) noexcept {
  return kStageNames[static_cast<std::size_t>(stage)];
}

double StageTimes::all_busy() const noexcept {
  return std::accumulate(busy.begin(), busy.end(), 0.0);
}

void StageClock::enter(std::int64_t step, Stage stage) noexcept {
  account();
  stage_ = stage;
  step_ = step;
  comm::set_activity(step, stage_name(stage));
}

void StageClock::pause() noexcept {
  account();
  stage_.reset();
}

void StageClock::end_step() noexcept {
  pause();
  ++times_.steps;
  if (observer_ != nullptr) observer_->step_ended(step_);
}

StageTimes StageClock::take() noexcept {
  return std::exchange(times_, {});
}

void StageClock::account() noexcept {
  if (observer_ != nullptr && stage_) observer_->ends(*stage_);
  const auto now = std::chrono::steady_clock::now();
  const auto waited = comm::waited_for_ranks();
  if (stage_) {
    const double waiting = Seconds(waited - waited_).count(), busy = Seconds(now - since_).count() - waiting;
    if (const auto index = static_cast<std::size_t>(*stage_); index < kStepStages) {
      times_.waiting += waiting;
      times_.busy[index] += busy;
    }
    if (observer_ != nullptr) observer_->took(*stage_, busy, waiting);
  }
  since_ = now;
  waited_ = waited;
}

}  // namespace cohort::train
