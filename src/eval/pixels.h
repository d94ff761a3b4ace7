#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace cohort::eval {

/// Class of a pixel of which none is known.
inline constexpr std::int32_t kUnknownPixel = -1;

/// Pixels of one class. Scores without a denominator are NaN.
struct ClassPixels {
  std::int64_t both = 0;      ///< are of the class, and are said to be
  std::int64_t answered = 0;  ///< are said to be
  std::int64_t labelled = 0;  ///< are of the class

  /// 2 |A ∩ B| / (|A| + |B|): L. R. Dice, "Measures of the amount of ecologic association between species",
  /// 1945.
  [[nodiscard]] double dice() const noexcept;
  /// |A ∩ B| / |A ∪ B|: P. Jaccard, 1901.
  [[nodiscard]] double iou() const noexcept;
  [[nodiscard]] double precision() const noexcept;
  [[nodiscard]] double recall() const noexcept;
};

/// Classes of pixels, as they are and as they are answered: [n], below the number of classes.
struct PixelClasses {
  std::span<const std::int32_t> label;  ///< kUnknownPixel: counts for nothing
  std::span<const std::int32_t> answer;
};

/// By class.
std::vector<ClassPixels> count_pixels(const PixelClasses& pixels, std::int64_t classes);

/// How well the boundaries of each class lie on each other, in [0, 1]: the harmonic mean of the shares of the
/// answer's boundary pixels that have one of the labels' within `tolerance` pixels, and the other way round
/// (G. Csurka et al., "What is a good evaluation measure for semantic segmentation?", BMVC 2013). Boundary
/// pixels of a class are those of its pixels that have one of another class above, below, left or right; the
/// border of the image and unknown pixels make none. Distances are of centres. NaN for a class that has no
/// boundary in either. `pixels` [H · width]. [classes].
std::vector<double> boundary_f(const PixelClasses& pixels, std::int64_t width, std::int64_t classes,
                               double tolerance);

}  // namespace cohort::eval
