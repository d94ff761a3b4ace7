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
  /// Mean precision over steps of the recall, without interpolation. The same weights; nothing without
  /// positive images. O(N).
  [[nodiscard]] std::optional<double> average_precision(std::span<const std::int32_t> weights = {}) const;

 private:
  struct Place {
    std::int32_t image;
    bool positive, ends_tie;  ///< ends_tie: the last one with its value
  };
  /// Calls `use(positives, negatives)` with the weights of each tie, from the smallest number up.
  template <class Use>
  void for_each_tie(std::span<const std::int32_t> weights, const Use& use) const {
    double positives = 0, negatives = 0;
    for (const Place& place : order_) {
      const double weight = weights.empty() ? 1 : weights[static_cast<std::size_t>(place.image)];
      (place.positive ? positives : negatives) += weight;
      if (!place.ends_tie) continue;
      use(positives, negatives);
      positives = negatives = 0;
    }
  }

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
