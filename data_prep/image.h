#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cohort/data/description.h"

namespace cohort::data_prep {

/// One decoded image, [C, H, W] row-major.
struct Image {
  data::ImageLayout layout;
  std::vector<std::byte> pixels;
};

/// Whether no value is NaN or infinite.
bool is_finite(const Image& image);

/// From [H, W, stored] interleaved values; the first `layout.channels` of `stored` are kept.
Image from_interleaved(const data::ImageLayout& layout, std::int64_t stored, const std::byte* pixels);

/// [1, H, W]: luma of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B, rounded to the nearest integer for integer
/// types. A gray image is returned as it is. Precondition: 1 or 3 channels.
Image to_gray(const Image& image);

/// Each axis by itself: the mean over the covered area when it shrinks, linear interpolation between pixel
/// centres when it grows. The aspect ratio is not kept. Integer types are computed exactly and rounded once,
/// half up, so that the result is the same on every machine.
Image resize(const Image& image, std::int64_t height, std::int64_t width);

}  // namespace cohort::data_prep
