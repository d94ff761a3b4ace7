#pragma once
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

#include "eval/pixels.h"

namespace cohort::eval {

inline constexpr double kNoScore = std::numeric_limits<double>::quiet_NaN();

/// What is summed up over images, for every class.
enum Term : std::size_t {
  kBoth,
  kAnswered,
  kLabelled,
  kImageDice,
  kPositiveDice,  // of images in which the class occurs
  kPositive,      // these images
  kBoundary,      // F of boundaries
  kBoundaries,    // images that have them
  kTerms
};

/// NaN: of nothing.
inline double pixel_ratio(double part, double whole) {
  return whole > 0 ? part / whole : kNoScore;
}

/// Sums [classes, kTerms] and the number of images.
class PixelSums {
 public:
  PixelSums(std::span<const double> values, std::size_t first_class) : values_(values), first_(first_class) {}

  [[nodiscard]] double of(std::size_t c, Term term) const { return values_[c * kTerms + term]; }
  [[nodiscard]] double images() const { return values_.back(); }
  [[nodiscard]] std::size_t classes() const { return values_.size() / kTerms; }

  [[nodiscard]] double dice(std::size_t c) const { return pixels(c).dice(); }
  [[nodiscard]] double iou(std::size_t c) const { return pixels(c).iou(); }
  [[nodiscard]] double precision(std::size_t c) const { return pixels(c).precision(); }
  [[nodiscard]] double recall(std::size_t c) const { return pixels(c).recall(); }
  [[nodiscard]] double image_dice(std::size_t c) const { return pixel_ratio(of(c, kImageDice), images()); }
  [[nodiscard]] double positive_image_dice(std::size_t c) const {
    return pixel_ratio(of(c, kPositiveDice), of(c, kPositive));
  }
  [[nodiscard]] double boundary(std::size_t c) const {
    return pixel_ratio(of(c, kBoundary), of(c, kBoundaries));
  }
  [[nodiscard]] double pixel_accuracy() const {
    double right = 0, all = 0;
    for (std::size_t c = 0; c < classes(); ++c) {
      right += of(c, kBoth);
      all += of(c, kLabelled);
    }
    return pixel_ratio(right, all);
  }
  /// Over the classes that are scored and have one.
  [[nodiscard]] double mean(double (PixelSums::*score)(std::size_t) const) const {
    double sum = 0, count = 0;
    for (std::size_t c = first_; c < classes(); ++c) {
      const double value = (this->*score)(c);
      if (std::isnan(value)) continue;
      sum += value;
      count += 1;
    }
    return pixel_ratio(sum, count);
  }

 private:
  [[nodiscard]] ClassPixels pixels(std::size_t c) const {
    return {std::llround(of(c, kBoth)), std::llround(of(c, kAnswered)), std::llround(of(c, kLabelled))};
  }

  std::span<const double> values_;
  std::size_t first_;
};

}  // namespace cohort::eval
