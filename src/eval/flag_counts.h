#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace cohort::eval {

/// How often a flag that is set or not was said to be, of images that it is known of.
struct FlagCounts {
  static constexpr std::size_t kCounts = 4;

  double true_positives = 0, false_positives = 0, false_negatives = 0, true_negatives = 0;

  /// `counts` [kCounts], in the order above.
  template <class Number>
  static FlagCounts of(std::span<const Number> counts) {
    return {static_cast<double>(counts[0]), static_cast<double>(counts[1]), static_cast<double>(counts[2]),
            static_cast<double>(counts[3])};
  }
  /// Which of the counts an image adds to.
  static std::size_t place(bool is_set, bool is_said) noexcept {
    return is_set ? (is_said ? 0 : 2) : (is_said ? 1 : 3);
  }

  [[nodiscard]] double positives() const noexcept { return true_positives + false_negatives; }
  [[nodiscard]] double negatives() const noexcept { return true_negatives + false_positives; }
  [[nodiscard]] double known() const noexcept { return positives() + negatives(); }
  /// NaN where a share is one of nothing.
  [[nodiscard]] double f1() const noexcept {
    return 2 * true_positives / (2 * true_positives + false_positives + false_negatives);
  }
  [[nodiscard]] double accuracy() const noexcept { return (true_positives + true_negatives) / known(); }
  [[nodiscard]] double sensitivity() const noexcept { return true_positives / positives(); }
  [[nodiscard]] double specificity() const noexcept { return true_negatives / negatives(); }
  [[nodiscard]] double precision() const noexcept {
    return true_positives / (true_positives + false_positives);
  }
};

}  // namespace cohort::eval
