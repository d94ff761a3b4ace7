#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cohort/train/metrics.h"

#include "train/progress.h"
#include "train/rank_times.h"
#include "train/run_folder.h"
#include "train/tensorboard.h"

namespace cohort::train {

/// What a run tells of itself: lines of metrics.jsonl, the same for TensorBoard, and steps on the terminal.
/// On other ranks than the first one every function does nothing.
class RunRecord {
 public:
  RunRecord(const RunFolder& folder, const Progress::Options& terminal, bool first_rank)
      : folder_(folder), first_rank_(first_rank), progress_(terminal) {}

  /// Goes on behind step `steps_done` (trim_metrics()) with `start_line`. Throws DataError.
  void begin(std::int64_t steps_done, bool drop_evaluation, bool tensorboard, const std::string& start_line);
  /// These throw DataError (disk full).
  void step(const StepRecord& record);
  void write(const std::string& line);
  /// Also warns of a rank that the others wait for. `hosts`: by rank.
  void rank_times(const RankTimes& times, std::int64_t steps_done, const std::vector<std::string>& hosts);
  void sync();  ///< makes all lines durable
  /// Before something else is printed: removes the bar of the steps.
  void clear_terminal() { progress_.clear(); }
  /// Of all steps, earlier parts of the run included.
  [[nodiscard]] double trained_seconds() const noexcept { return trained_seconds_; }

 private:
  RunFolder folder_;
  bool first_rank_;
  std::optional<MetricsFile> metrics_;
  std::optional<TensorBoard> tensorboard_;
  Progress progress_;
  double trained_seconds_ = 0.0;
};

}  // namespace cohort::train
