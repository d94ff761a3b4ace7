#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cohort/data/description.h"
#include "cohort/data/view_geometry.h"

#include "augment/pixel_body.h"

// Operations on one image, planar. Values are in stored units; 8-bit images have 0 … 255, but are not rounded
// in between.
namespace cohort::augment {

/// [C, H, W].
struct Planes {
  std::int64_t channels = 0, height = 0, width = 0;
  std::vector<float> values;

  Planes() = default;
  Planes(std::int64_t its_channels, std::int64_t its_height, std::int64_t its_width)
      : channels(its_channels), height(its_height), width(its_width) {
    values.resize(static_cast<std::size_t>(channels * pixels()));
  }
  [[nodiscard]] std::int64_t pixels() const noexcept { return height * width; }
  [[nodiscard]] float* plane(std::int64_t channel) noexcept { return values.data() + channel * pixels(); }
  [[nodiscard]] const float* plane(std::int64_t channel) const noexcept {
    return values.data() + channel * pixels();
  }
};

/// From stored pixels.
Planes planes_of(const data::ImageLayout& layout, std::span<const std::byte> stored);

/// `box` of the image, resized to height × width as Pillow's Image.resize(size, resample, box) does: each
/// output pixel is the weighted mean of the input pixels under the filter, which is widened by the reduction
/// (antialiasing); bicubic has a = -1/2; rows are resized first. Values are kept within `lowest` … `highest`
/// after each of the two directions, since a bicubic filter overshoots. (github.com/python-pillow/Pillow,
/// src/libImaging/Resample.c, in floating point instead of fixed point.)
Planes resized(const Planes& image, const Box& box, std::int64_t height, std::int64_t width, Filter filter,
               float lowest, float highest);

void flip_horizontally(Planes& image);
void flip_vertically(Planes& image);

/// Gaussian blur as Pillow's ImageFilter.GaussianBlur(radius): three box blurs with a fractional radius in
/// each direction, borders repeated (Gwosdek et al., "Theoretical foundations of Gaussian convolution by
/// extended box filtering", SSVM 2011).
void gaussian_blur(Planes& image, double radius);

/// Mean over a disc of `radius` pixels whose edge is smoothed: a mask of ones within the radius on the grid
/// of max(17, 2·ceil(radius) + 1) pixels a side, blurred by a 3 × 3 Gaussian of deviation 0.1 (radius ≤ 8) or
/// a 5 × 5 one, normalised; borders mirrored without repeating the edge (Hendrycks and Dietterich,
/// "Benchmarking neural network robustness to common corruptions and perturbations", ICLR 2019; as
/// albumentations' Defocus).
void defocus(Planes& image, std::int64_t radius);

/// That of defocus(): [side, side] with an odd side; the sum is 1.
struct Disc {
  std::int64_t side;
  std::vector<float> weights;
};
Disc disc_of(std::int64_t radius);

/// Rotation about the centre by `degrees`, counter-clockwise, bilinear between pixel centres; what lies
/// outside counts as mirrored at the edge without repeating it.
Planes rotated(const Planes& image, double degrees);

struct Rotation {
  double cosine = 1, sine = 0;
};
Rotation rotation_by(double degrees);
Planes rotated(const Planes& image, const Rotation& rotation);

/// Each pixel is what lies at `from`(its centre), as Pillow's Image.transform(AFFINE): the nearest pixel, or
/// bilinear between pixel centres, borders repeated; what lies outside is zero.
Planes warped(const Planes& image, const data::Affine& from, Filter filter);

}  // namespace cohort::augment
