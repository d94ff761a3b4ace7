#pragma once
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "cohort/train/stage_observer.h"

namespace cohort::train {

/// Seconds of a rank, summed over steps.
struct StageTimes {
  std::int64_t steps = 0;
  double waiting = 0.0;                    ///< for other ranks, in collectives
  std::array<double, kStepStages> busy{};  ///< the rest, by stage
  [[nodiscard]] double all_busy() const noexcept;
};

/// Follows a rank through its steps: announces each stage to the flight recorder (comm/flight_recorder.h),
/// and tells time at work from time spent waiting for other ranks. Work of a GPU shows in the stage that
/// waits for it. One thread.
class StageClock {
 public:
  /// `observer`: null, or outlives this.
  explicit StageClock(StageObserver* observer = nullptr) noexcept : observer_(observer) {}
  /// `step`: counted from 1.
  void enter(std::int64_t step, Stage stage) noexcept;
  /// What follows belongs to no stage.
  void pause() noexcept;
  /// The step is over.
  void end_step() noexcept;
  /// Since the last call.
  StageTimes take() noexcept;

 private:
  void account() noexcept;

  StageObserver* observer_;
  std::optional<Stage> stage_;
  std::int64_t step_ = 0;
  std::chrono::steady_clock::time_point since_{};
  std::chrono::nanoseconds waited_{0};
  StageTimes times_;
};

}  // namespace cohort::train
