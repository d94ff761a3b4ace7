#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "cohort/core/file.h"
#include "cohort/eval/feature_statistics.h"

namespace cohort::train {

/// What is known of one training step, the same on every rank.
struct StepRecord {
  std::int64_t step = 0;  ///< steps done, this one included
  std::int64_t epoch = 0;
  double loss = 0.0;  ///< mean over the global batch
  double lr = 0.0;
  double grad_norm = 0.0;                   ///< before clipping
  double seconds = 0.0;                     ///< of the whole step
  double images_per_second = 0.0;           ///< over all ranks
  double data_wait = 0.0, comm_wait = 0.0;  ///< parts of `seconds` spent waiting, mean over ranks, 0 … 1
  double read_seconds = 0.0,
         view_seconds = 0.0;             ///< of the loader's threads, beside training: mean over ranks
  std::int64_t memory_bytes = 0;         ///< peak resident memory of the largest rank
  std::int64_t device_memory_bytes = 0;  ///< the same of tensors on its GPU; 0 without one
  std::vector<std::pair<std::string, double>> metrics;  ///< of the method: "accuracy" …
};

struct EndRecord {
  std::int64_t step = 0;
  double seconds = 0.0;  ///< of all steps, earlier parts of a resumed run included; evaluation left out
  double images_per_second = 0.0;  ///< over all ranks
  int ranks = 0;
  std::int64_t parameters = 0;
  std::string reason{};  ///< why it ended before its last step; empty: it did not
};

/// An evaluation that was better than all before it.
struct BestRecord {
  std::int64_t step = 0, epoch = 0;
  std::string by;  ///< checkpoint.best_by
  double score = 0.0;
};

/// Lines of metrics.jsonl: one JSON object each, without the line break; numbers have 9 significant digits.
std::string step_json(const StepRecord& record);
std::string end_json(const EndRecord& record);
std::string best_json(const BestRecord& record);
/// Of pictures.png.
std::string pictures_json(const std::string& caption, std::int64_t step, std::int64_t epoch);
std::string features_json(const eval::FeatureStatistics& features, std::int64_t step, std::int64_t epoch);

/// "features of the training split  deviation 0.0412  effective rank 61.3": one line.
std::string features_line(const eval::FeatureStatistics& features);

/// metrics.jsonl, open for appending. Each line reaches the system at once, so that a killed process loses
/// none.
class MetricsFile {
 public:
  /// Throws DataError when it cannot be opened.
  explicit MetricsFile(std::filesystem::path file);
  /// Throws DataError (disk full).
  void write(const std::string& line);
  /// Makes all lines durable; before a checkpoint, which must not be newer than its lines. Throws DataError,
  /// also when the file was removed or replaced since it was opened.
  void sync();

 private:
  void refuse_other_file() const;

  std::filesystem::path file_;
  FileDescriptor descriptor_;
};

/// What is left of a run's metrics when it goes on from a checkpoint.
struct KeptMetrics {
  std::int64_t steps = 0;  ///< step lines
  double seconds = 0.0;    ///< of these steps
};

/// Drops, atomically, lines of steps beyond `step`, end lines, half-written lines, and with `drop_evaluation`
/// the evaluation, features and best lines of `step` itself (they are made again). No file: nothing kept.
/// Throws DataError when a whole line is no JSON object.
KeptMetrics trim_metrics(const std::filesystem::path& file, std::int64_t step, bool drop_evaluation);

/// Whether there is an evaluation, or what it says of features, of this step. Throws DataError when a whole
/// line is no JSON object.
bool has_evaluation(const std::filesystem::path& file, std::int64_t step);

/// How a run ended.
struct RunEnd {
  std::int64_t step = 0;
  std::string reason;  ///< EndRecord's
};

/// Of the last line, if it is an end line: training, evaluation and export are done. Throws DataError when it
/// is no line of metrics.
std::optional<RunEnd> end_of_run(const std::filesystem::path& file);

}  // namespace cohort::train
