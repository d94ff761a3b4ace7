#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cohort/data/description.h"

namespace cohort::data_prep {

/// What was done to an image when its file was read, or left undone: its pixels do not tell.
struct Remarks {
  bool turned = false;          ///< stored on its side, upside down or mirrored; its metadata say how
  bool no_orientation = false;  ///< its metadata cannot be read: taken as it is stored
  bool alpha = false;           ///< had a channel of transparency, which is left out
  bool profile = false;         ///< has a colour profile, which is not applied
  bool junk = false;            ///< bytes in its file belong to no part of it; they are read over
  bool converted = false;       ///< colours for print (CMYK) became RGB without a profile
  bool cut_text = false;        ///< of its texts one has more tokens than are kept
  bool no_token = false;        ///< of its texts one has no token, or none that the vocabulary knows
};

/// One decoded image, [C, H, W] row-major, or a volume, [C, D, H, W].
struct Image {
  data::ImageLayout layout;
  std::vector<std::byte> pixels;
  Remarks remarks{};
};

/// Whether no value is NaN or infinite.
bool is_finite(const Image& image);

/// From [H, W, C], or [D, H, W, C], interleaved values.
Image from_interleaved(const data::ImageLayout& layout, const std::byte* pixels);

/// As it is to be seen: `orientation` is that of exif.h. Of 5 … 8 height and width change places. Remarks say
/// whether it was turned, or could not be.
Image upright(Image image, int orientation);

/// As the images of a dataset are prepared before they are stored. Throws UsageError: gray of other than 1 or
/// 3 channels.
Image prepared(const Image& image, const data::Preparation& preparation);

/// [1, H, W], or [1, D, H, W]: luma of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B, rounded to the nearest
/// integer for integer types. A gray image is returned as it is. Precondition: 1 or 3 channels.
Image to_gray(const Image& image);

/// Each axis by itself: the mean over the covered area when it shrinks, linear interpolation between pixel
/// centres when it grows. The aspect ratio is not kept. Integer types are computed exactly and rounded once,
/// half up, so that the result is the same on every machine. Of a volume every slice.
Image resize(const Image& image, std::int64_t height, std::int64_t width);

/// Of an image, or of a volume.
struct Extent {
  std::int64_t height = 0, width = 0, depth = 1;
};

/// Where a resized image lies in its result: scaled to height x width (a volume to depth x height x width) as
/// a whole, its corner at (top, left) of slice `front`; negative where something is cut off.
struct Scaling {
  std::int64_t height, width, top = 0, left = 0;
  std::int64_t depth = 1, front = 0;
};

/// Of an image of this extent. Precondition: the preparation resizes.
Scaling scaling_of(const Extent& from, const data::Preparation& preparation);

/// To the size that a preparation has, the aspect ratio kept, where it says so, by cutting off or by adding
/// pixels of value 0 after resizing; what is odd goes to the bottom, to the right and to the last slices. Of
/// a volume first every slice, then along its depth, rounded after each. Precondition: the preparation
/// resizes.
Image resize(const Image& image, const data::Preparation& preparation);

}  // namespace cohort::data_prep
