#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace cohort::eval {

/// How many images have a number from a threshold on, of those that should and of those that should not.
struct ThresholdCount {
  std::int64_t positives = 0, negatives = 0;
};

/// Counts at every threshold, from the lowest one up, of which a curve keeps at most kMost: all of them, or
/// the first one in each of as many equal stretches of the curve. What is kept is exact.
class ThresholdCounts {
 public:
  static constexpr std::size_t kMost = 198;

  /// `place`: how far along the curve a count lies, 0 … 1, of the counts at the lowest threshold.
  using Place = double (*)(const ThresholdCount& count, const ThresholdCount& all);

  ThresholdCounts(const ThresholdCount& all, Place place) : all_(all), place_(place) {}
  void add(const ThresholdCount& count);
  /// From the lowest threshold up, once.
  std::vector<ThresholdCount> finish();

 private:
  void thin();

  ThresholdCount all_;
  Place place_;
  std::vector<ThresholdCount> counts_;
};

using CurvePoints = std::vector<std::array<double, 2>>;

/// ROC and precision–recall curves of the same thresholds (T. Fawcett, "An introduction to ROC analysis",
/// 2006; J. Davis, M. Goadrich, "The relationship between precision-recall and ROC curves", 2006).
class ThresholdCurves {
 public:
  explicit ThresholdCurves(const ThresholdCount& all);
  void add(const ThresholdCount& count);
  /// (false positive rate, true positive rate) from (0, 0) to (1, 1), once.
  CurvePoints roc();
  /// (recall, precision) from recall 0, of which the precision is 1, once.
  CurvePoints precision_recall();

 private:
  ThresholdCount all_;
  ThresholdCounts roc_, precision_recall_;
};

}  // namespace cohort::eval
