#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data_prep/image.h"

namespace cohort::data_prep {

/// A whole slide, read through OpenSlide. Positions are pixels of level 0, x to the right, y down. For one
/// thread.
class Slide {
 public:
  struct Level {
    std::int64_t height = 0, width = 0;
    double downsample = 1;  ///< pixels of level 0 a pixel, along each axis
  };

  /// Throws DataError.
  explicit Slide(const std::filesystem::path& file);
  ~Slide();
  Slide(Slide&&) noexcept;
  Slide& operator=(Slide&&) noexcept;

  [[nodiscard]] const std::vector<Level>& levels() const noexcept { return levels_; }
  /// Of level 0, the mean of both axes; nothing: the file does not say.
  [[nodiscard]] std::optional<double> microns_per_pixel() const;
  /// Empty: the file has no such property.
  [[nodiscard]] std::string property(const std::string& name) const;
  /// RGB, u8, [3, height, width] of a level, from a position on. What was not scanned has the colour of the
  /// background, white unless the file names another. Throws DataError.
  [[nodiscard]] Image region(std::size_t level, std::int64_t x, std::int64_t y, std::int64_t height,
                             std::int64_t width) const;

 private:
  struct Handle;
  std::unique_ptr<Handle> handle_;
  std::vector<Level> levels_;
};

/// Where tissue is: one value for each square of `scale` x `scale` pixels of level 0.
struct TissueMask {
  std::int64_t height = 0, width = 0;
  double scale = 1;
  std::vector<bool> is_tissue{};

  /// Of a square of `side` pixels of level 0: the part of the mask's pixels in it, by their centres, that are
  /// tissue.
  [[nodiscard]] double share(double x, double y, double side) const;
};

/// Tissue is what has more colour than Otsu's threshold (IEEE Transactions on Systems, Man, and Cybernetics
/// 9, 1979) of the saturation 255 (max - min) / max of all pixels. Of the smallest level whose longer side
/// has 1,024 pixels or more, reduced to at most 2,048 by the mean of areas.
TissueMask tissue_mask(const Slide& slide);

/// The value of 0 … 255 that divides `counts` best: what is above it is the upper class.
int otsu_threshold(const std::vector<std::int64_t>& counts);

}  // namespace cohort::data_prep
