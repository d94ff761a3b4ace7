#pragma once
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "cohort/core/terminal.h"
#include "cohort/train/metrics.h"

namespace cohort::train {

/// The last 128 values of a quantity.
class RecentValues {
 public:
  /// How many standard deviations `value` lies from the mean of the values before it; nothing while they are
  /// few. Keeps it.
  std::optional<double> add(double value);

 private:
  std::deque<double> values_;
};

/// "step  12/480  loss 0.6931  …": the line of a step. "(unusually high)" or "(unusually low)" stands behind
/// a loss or gradient norm more than three standard deviations from the mean of the 128 steps before it.
/// Times and rates are means over the steps since the last line.
class Progress {
 public:
  struct Options {
    std::int64_t total_steps = 0;
    std::int64_t global_images = 0;
    std::int64_t every_steps = 10;
    bool live = false;  ///< a bar on the terminal, redrawn in place, instead of lines
  };
  explicit Progress(Options options) noexcept : options_(options) {}
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Takes a step in and prints what is due: the first step at once. Rank 0 calls it. The first step, which
  /// warms everything up, is left out of means.
  void step(const StepRecord& record);
  /// Removes the bar, so that other text can be printed; the next step draws it again.
  void clear();
  /// The line as it would be printed now. In a narrow terminal the bar, memory, learning rate, milliseconds,
  /// gradient norm and rate are left out, in this order.
  [[nodiscard]] PartedLine line() const;

 private:
  [[nodiscard]] PartedLine bar() const;

  Options options_;
  StepRecord last_;
  RecentValues losses_, norms_;
  std::optional<double> loss_z_, norm_z_;
  std::int64_t seen_ = 0;
  struct {
    std::int64_t steps = 0;
    double seconds = 0, data = 0, comm = 0;
  } since_line_;
  double all_seconds_ = 0;  // of all steps but the first
  bool drawn_ = false;
};

}  // namespace cohort::train
