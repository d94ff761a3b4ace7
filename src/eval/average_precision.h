#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace cohort::eval {

/// Boxes of one class from the most confident one on, and what they make of precision and recall.
class AveragePrecision {
 public:
  static constexpr std::size_t kRecalls = 101;  ///< 0, 0.01 … 1

  /// `positives` > 0 boxes are to be found.
  void add(bool is_right, std::int64_t positives) noexcept;
  /// The largest precision at recalls of k · 0.01 or more, 0 where none is reached.
  [[nodiscard]] std::array<double, kRecalls> precisions() const noexcept;
  /// Their mean, as COCO and LoVT (arXiv 2112.02889) have it.
  [[nodiscard]] double value() const noexcept;

 private:
  std::int64_t right_ = 0, all_ = 0;
  std::array<double, kRecalls> best_{};  // at a recall from k · 0.01 to the next one
};

/// How many boxes are found at how many false positives an image (D. Chakraborty, "Maximum likelihood
/// analysis of free-response receiver operating characteristic (FROC) data", 1989), from the most confident
/// box on.
class FreeResponse {
 public:
  /// False positives an image that sensitivity is told at, ascending.
  static constexpr std::array<double, 7> kRates{0.125, 0.25, 0.5, 1, 2, 4, 8};

  /// `found` boxes by this one, which none before has found; `is_wrong`: around its centre there is none.
  void add(std::int64_t found, bool is_wrong, std::int64_t images) noexcept;
  /// The mean of the sensitivities at kRates, each read at the first box at which so many false positives are
  /// reached; a box reaches one rate at most, as published with LoVT. Those that are not reached have that of
  /// the last one that is; none is: that of all boxes.
  [[nodiscard]] double value(std::int64_t positives) const noexcept;
  [[nodiscard]] std::array<double, kRates.size()> sensitivities(std::int64_t positives) const noexcept;

 private:
  std::int64_t found_ = 0, wrong_ = 0;
  std::size_t reached_ = 0;
  std::array<std::int64_t, kRates.size()> found_at_{};
};

}  // namespace cohort::eval
