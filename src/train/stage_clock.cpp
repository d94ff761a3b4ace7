#include "train/stage_clock.h"

#include <numeric>
#include <utility>

#include "cohort/comm/flight_recorder.h"

namespace cohort::train {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr std::array<const char*, 7> kStageNames{"data",  "forward",    "backward",  "optimizer",
                                                 "other", "evaluation", "checkpoint"};

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
  comm::set_activity(step, stage_name(stage));
}

void StageClock::end_step() noexcept {
  account();
  stage_ = Stage::evaluation;
  ++times_.steps;
}

StageTimes StageClock::take() noexcept {
  return std::exchange(times_, {});
}

void StageClock::account() noexcept {
  const auto now = std::chrono::steady_clock::now();
  const auto waited = comm::waited_for_ranks();
  const auto index = static_cast<std::size_t>(stage_);
  if (index < kStepStages) {
    const Seconds waiting = waited - waited_;
    times_.waiting += waiting.count();
    times_.busy[index] += (Seconds(now - since_) - waiting).count();
  }
  since_ = now;
  waited_ = waited;
}

}  // namespace cohort::train
