#pragma once
#include <cstddef>
#include <cstdint>

namespace cohort::train {

/// What a rank is at. The steps of training consist of those before `evaluation`.
enum class Stage : std::size_t {
  data,       ///< waiting for the loader
  copy,       ///< to the device
  forward,    ///< the loss
  backward,   ///< gradients
  optimizer,  ///< clipping, update
  ema,        ///< models that follow others, centres and queues of the method
  other,
  evaluation,
  checkpoint  ///< while it holds the training up
};
inline constexpr std::size_t kStages = 9, kStepStages = 7;

/// "forward".
const char* stage_name(Stage stage) noexcept;

/// Hears of the stages of training as they go by, on every rank, in the thread that trains: for measurements.
/// Training goes on when a function returns, which must not throw.
class StageObserver {
 public:
  StageObserver() = default;
  StageObserver(const StageObserver&) = delete;
  StageObserver& operator=(const StageObserver&) = delete;
  virtual ~StageObserver() = default;
  /// `stage` is about to end: what it still has under way on a device can be waited for, and counts.
  virtual void ends(Stage stage) noexcept = 0;
  /// It took `busy` seconds, and `waiting` more in waiting for other ranks.
  virtual void took(Stage stage, double busy, double waiting) noexcept = 0;
  /// `step`, counted from 1, is over.
  virtual void step_ended(std::int64_t step) noexcept = 0;
};

}  // namespace cohort::train
