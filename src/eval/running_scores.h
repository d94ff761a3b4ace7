#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/eval/scores.h"

#include "eval/answers.h"
#include "eval/classification.h"
#include "eval/exact_sum.h"
#include "eval/extreme_rows.h"
#include "eval/spilled_rankings.h"

namespace cohort::eval {

/// score() of images that ranks see one pass after the other: a rank holds classes² + contexts numbers and
/// not the answers; of up to kResampled images it holds, and then gathers, 16 bytes an image, of two classes
/// 32. Numbers do not depend on the order of the images. Intervals come from the same samples as
/// score()'s up to kResampled images; of more, that of the accuracy has the quantiles of the binomial
/// distribution, which those samples approach, and that of the area is DeLong's.
class RunningScores {
 public:
  static constexpr std::int64_t kResampled = std::int64_t{1} << 20;

  /// Of `images` on all ranks. `contexts`: how many, of all keys; 0: none. `threshold`: of the second of two
  /// classes, TaskConfig::threshold.
  RunningScores(std::int64_t classes, std::size_t contexts, std::int64_t images, double threshold = 0.5);
  /// `logits` [n, classes] f32 of dataset rows `rows` [n] i64; `labels` [n], -1: left out; `contexts` [n,
  /// keys], or none. Throws DataError.
  void add(const at::Tensor& logits, const at::Tensor& rows, std::span<const std::int32_t> labels,
           std::span<const std::int32_t> contexts);
  /// Collective, once. Throws as score() does, on every rank. `context_names`: of the first key.
  Scores finish(std::span<const std::string> context_names, comm::Communicator& ranks);
  /// After finish().
  [[nodiscard]] const ClassificationDetail& detail() const noexcept { return detail_; }

 private:
  static constexpr std::size_t kBins = 15;  // of confidence
  struct Tally {
    std::int64_t images = 0, correct = 0;
    ExactSum confidence{};
  };

  void count(const Answer& answer, std::int64_t row, std::span<const std::int32_t> contexts);
  void add_up(comm::Communicator& ranks);
  void add_intervals(Scores& scores, const std::optional<Area>& area, comm::Communicator& ranks) const;
  [[nodiscard]] std::optional<Area> area_of(const std::vector<std::int64_t>& of_class, std::int64_t images,
                                            comm::Communicator& ranks);
  void add_detail(comm::Communicator& ranks);

  std::int64_t classes_;
  double threshold_;
  bool resampled_, finite_ = true;
  std::vector<std::int64_t> confusion_;  // [classes, classes]
  std::vector<Tally> contexts_;
  std::array<Tally, kBins> bins_{};
  ExactSum loss_;
  SpilledRankings rankings_;
  std::vector<std::int64_t> rows_, right_, labels_;  // of each image that is resampled
  std::vector<double> margins_;
  std::array<std::int64_t, 4> at_threshold_{};  // [label, answer], of two classes
  ExtremeRows errors_;
  ClassificationDetail detail_;
};

}  // namespace cohort::eval
