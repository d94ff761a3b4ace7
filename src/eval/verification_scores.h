#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cohort/comm/communicator.h"
#include "cohort/eval/scorecard.h"

#include "eval/spilled_rankings.h"

namespace cohort::eval {

/// Images that are to be accepted, the genuine ones, and others, and how many of them were judged wrongly. An
/// image is accepted where its score is at least the threshold.
struct VerificationCounts {
  std::int64_t genuine = 0, others = 0, rejected_genuine = 0, accepted_others = 0;

  void add(bool is_genuine, bool accepted) noexcept;
  /// NaN without images.
  [[nodiscard]] double false_reject_rate() const noexcept;
  [[nodiscard]] double false_accept_rate() const noexcept;
  /// The mean of both, the half total error rate.
  [[nodiscard]] double half_total_error() const noexcept;
  [[nodiscard]] double accuracy() const noexcept;
  /// "hter" with its 95 % interval, of Wilson's intervals of both rates (G. Y. Zou, A. Donner, "Construction
  /// of confidence limits about effect measures: a general approach", 2008).
  [[nodiscard]] Score half_total_error_score() const;
};

/// Scores 0 … 1 counted by thresholds 0, 0.0001, …, 1, and 1.1, which refuses all.
class ThresholdGrid {
 public:
  static constexpr std::int64_t kSteps = 10'000;

  ThresholdGrid() : counts_(2 * kThresholds) {}
  void add(double score, bool is_genuine) noexcept;
  /// Collective, once.
  void add_up(comm::Communicator& ranks);

  struct Point {
    double threshold = 0.0;
    VerificationCounts counts;
  };
  /// Where both rates differ least; of several thresholds the highest. Precondition: there are images of both
  /// kinds.
  [[nodiscard]] Point equal_error() const;
  /// Both rates by the threshold, 200 points at most.
  [[nodiscard]] std::array<Curve, 2> curves() const;

 private:
  static constexpr std::size_t kThresholds = kSteps + 2;

  /// Calls use(threshold, counts) from the lowest threshold on.
  template <class Use>
  void for_each(const Use& use) const;

  std::vector<std::int64_t> counts_;  // [others, genuine; kThresholds], by the highest that accepts an image
};

/// Scores 0 … 1 that do not fit into memory, of which the true positive rate at a false positive rate is
/// found. A rank holds 2 MiB beside the Spill.
class SpilledScores {
 public:
  void add(double score, bool positive);
  /// Collective. Of the ROC curve with a point for each different score: the true positive rate of the last
  /// point whose false positive rate is at most `rate`; 0 where only the origin is. Throws DataError.
  [[nodiscard]] double true_positive_rate(double rate, std::int64_t positives, std::int64_t negatives,
                                          comm::Communicator& ranks);

 private:
  template <class Use>
  void for_each(const Use& use) const;
  void flush();

  Spill spill_;
  std::vector<std::uint64_t> offsets_;  // of chunks of kChunk scores
  std::vector<std::uint64_t> waiting_;  // bits of a score, the highest one: positive
};

}  // namespace cohort::eval
