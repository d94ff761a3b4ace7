#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace cohort::report {

/// (step, value), steps ascending.
using Series = std::vector<std::pair<double, double>>;

/// Values step by step, of any number of steps, in so many stretches at most: up to kStretches values each is
/// one; then neighbours are joined, and each stretch stands for twice as many values, and so on. Which values
/// are in a stretch follows from their number alone.
class ThinnedSeries {
 public:
  static constexpr std::size_t kStretches = 8192;

  /// In the place of those of this step and later ones, which the run has gone back behind. Of values that
  /// share a stretch with earlier ones the number is then taken as if steps were evenly spaced; they stay in
  /// its mean, and where they were its lowest or highest, these stay too, at a step that is left.
  void add(double step, double value);
  /// All values; of stretches of several the lowest and the highest, in order of steps; and the last.
  [[nodiscard]] Series points() const;
  /// All values; of stretches of several their mean, at the first of their steps.
  [[nodiscard]] Series means() const;
  [[nodiscard]] bool is_thinned() const noexcept { return width_ > 1; }
  /// How many values.
  [[nodiscard]] std::int64_t count() const noexcept;

 private:
  using Point = std::pair<double, double>;
  struct Stretch {
    Point first, low, high, last;
    double sum = 0.0;
    std::int64_t count = 0;
  };
  static void join(Stretch& stretch, const Stretch& next);
  static void cut(Stretch& stretch, double step);
  void go_back_behind(double step);
  void halve();

  std::vector<Stretch> stretches_;
  std::int64_t width_ = 1;  // values of a stretch
};

}  // namespace cohort::report
