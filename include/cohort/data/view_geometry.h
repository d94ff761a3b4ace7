#pragma once
#include <vector>

namespace cohort::data {

/// A place in an image or a view: x to the right, y down, in pixels from the upper left corner, so that the
/// pixel of column x and row y covers x … x + 1 and y … y + 1, and its centre is (x + 1/2, y + 1/2).
struct Point {
  double x = 0, y = 0;
};

/// (x, y) -> (xx x + xy y + x0, yx x + yy y + y0): the rows of a 2 x 3 matrix.
struct Affine {
  double xx = 1, xy = 0, x0 = 0;
  double yx = 0, yy = 1, y0 = 0;

  [[nodiscard]] Point operator()(Point at) const noexcept {
    return {xx * at.x + xy * at.y + x0, yx * at.x + yy * at.y + y0};
  }
  /// First `inner`, then this.
  [[nodiscard]] Affine operator*(const Affine& inner) const noexcept {
    return {xx * inner.xx + xy * inner.yx, xx * inner.xy + xy * inner.yy, xx * inner.x0 + xy * inner.y0 + x0,
            yx * inner.xx + yy * inner.yx, yx * inner.xy + yy * inner.yy, yx * inner.x0 + yy * inner.y0 + y0};
  }
  /// Precondition: it is one to one.
  [[nodiscard]] Affine inverse() const noexcept {
    const double d = xx * yy - xy * yx;
    return {yy / d, -xy / d, (xy * y0 - yy * x0) / d, -yx / d, xx / d, (yx * x0 - xx * y0) / d};
  }
};

/// z -> scale z + offset: places along the depth of a volume, whose slice i covers i … i + 1.
struct DepthMap {
  double scale = 1, offset = 0;

  [[nodiscard]] double operator()(double z) const noexcept { return scale * z + offset; }
};

/// Where a view was cut.
struct ViewGeometry {
  Affine to_image;  ///< place in the view -> place in the stored image
  /// Corners, in order, of the convex part of the view that shows the image at these places. What lies
  /// outside of it is padding, or the image mirrored at a border.
  std::vector<Point> seen;
  DepthMap
      depth{};  ///< of volumes: depth in the view -> depth in the stored volume; outside of it is padding
};

}  // namespace cohort::data
