#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

#include "cohort/method/method.h"
#include "cohort/train/schedule.h"

namespace cohort::train {

/// How often a run has lowered its learning rate because the score of checkpoint.best_by no longer got
/// better: the rule of torch.optim.lr_scheduler.ReduceLROnPlateau with a relative threshold and without a
/// cool-down. A score that is not a number is not better. What it knows is a buffer of the checkpoints.
class Plateau {
 public:
  /// `score`: identifies the score that is gone by, of 48 bits.
  Plateau(const PlateauConfig& config, std::uint64_t score, bool lower_is_better);

  [[nodiscard]] bool is_used() const noexcept { return config_.patience > 0; }
  /// Takes the score of an evaluation in; the same on every rank. Whether the learning rate falls with it.
  bool note(double score) noexcept;
  [[nodiscard]] std::int64_t reductions() const noexcept;

  /// "/schedule/plateau".
  [[nodiscard]] method::Buffer buffer() const;
  /// The buffer has the values of a checkpoint. What they say of another score is forgotten, but for the
  /// reductions.
  void restored() noexcept;

 private:
  [[nodiscard]] bool is_better(double score) const noexcept;
  [[nodiscard]] float& at(int value) const noexcept;
  void name_score() noexcept;

  PlateauConfig config_;
  std::uint64_t score_;
  bool lower_is_better_;
  at::Tensor values_;
};

}  // namespace cohort::train
