#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>

#include "data_prep/image.h"

namespace cohort::data_prep {

/// A NIfTI file (.nii, .nii.gz, versions 1 and 2). Axes 0, 1, 2 go from left to right, from back to front,
/// from feet to head (RAS), whatever the order of the file: it is turned by steps of 90 degrees, as its sform
/// says, else its qform, else it is taken to lie so already. For one thread.
class NiftiFile {
 public:
  /// Throws DataError.
  explicit NiftiFile(const std::filesystem::path& file);
  ~NiftiFile();
  NiftiFile(NiftiFile&&) noexcept;
  NiftiFile& operator=(NiftiFile&&) noexcept;

  [[nodiscard]] const std::array<std::int64_t, 3>& shape() const noexcept { return shape_; }
  /// Millimetres, or the unit that the file names, from one value to the next.
  [[nodiscard]] const std::array<double, 3>& spacing() const noexcept { return spacing_; }
  /// Of volumes: time points, directions …
  [[nodiscard]] std::int64_t volumes() const noexcept;
  /// Across `axis`, [1, H, W] of f32, rescaled as the file says. Columns are the first of the two other axes;
  /// rows the second, from its end: what is in front, or above, is in the first row. Throws DataError.
  [[nodiscard]] Image slice(int axis, std::int64_t index, std::int64_t volume) const;
  /// All slices across `axis`, [1, D, H, W], from the first. Throws DataError.
  [[nodiscard]] Image volume(int axis, std::int64_t volume) const;
  /// (x, y, z, 1) -> millimetres to the right, to the front and upwards: of the middle of column x and row y
  /// of slice(axis, z). As the file says, else by its spacing alone.
  [[nodiscard]] std::array<std::array<double, 4>, 3> affine(int axis) const;
  /// Whether it has values of 8 bits without a sign, which are not rescaled.
  [[nodiscard]] bool has_bytes() const noexcept;

 private:
  struct Data;
  std::unique_ptr<Data> data_;
  std::array<std::int64_t, 3> shape_{};
  std::array<double, 3> spacing_{};
};

}  // namespace cohort::data_prep
