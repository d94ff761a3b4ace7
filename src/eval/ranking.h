#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cohort/eval/scores.h"

namespace cohort::eval {

/// Images in the order of a number, of which those of one class should have the larger ones.
class Ranking {
 public:
  /// `values` and `positive` [N].
  Ranking(std::span<const double> values, std::span<const bool> positive);

  /// Area under the ROC curve, ties count one half; image i counts `weights[i]` times (empty: once). Nothing
  /// when one side is absent. O(N).
  [[nodiscard]] std::optional<double> area(std::span<const std::int32_t> weights = {}) const;

 private:
  struct Place {
    std::int32_t image;
    bool positive, ends_tie;  ///< ends_tie: the last one with its value
  };
  std::vector<Place> order_;
};

/// 95 % intervals from 1,000 samples of as many images, drawn with replacement: percentiles 2.5 and 97.5
/// (B. Efron, "Bootstrap methods: another look at the jackknife", 1979). Always the same draws.
struct BootstrapIntervals {
  Interval accuracy{};
  std::optional<Interval> area{};  ///< nothing without a ranking, or with one class
};
/// `right` [N]: 1 where the answer is, else 0.
BootstrapIntervals bootstrap(std::span<const std::int64_t> right, const Ranking* ranking);

}  // namespace cohort::eval
