#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "cohort/data/view_geometry.h"

// Annotations of an image, moved into one of its views by where that was cut (ViewMaker::geometry()).
// What the view does not show of the image, its padding and mirrored borders, has no annotation. Thread-safe.
namespace cohort::data {

/// One label for each pixel: [height, width].
template <class Label>
struct MaskOf {
  std::span<Label> labels;
  std::int64_t height = 0, width = 0;
};

/// Each pixel of `view` gets the label of the pixel of `image` that its centre lies in (nearest), and
/// `outside` where its centre shows nothing of the image: the value that a loss ignores, 255 or -1
/// (docs/formats/dataset.md). `Label`: std::uint8_t or std::int32_t.
template <class Label>
void move_mask(const MaskOf<const Label>& image, const ViewGeometry& geometry, Label outside,
               const MaskOf<Label>& view);

/// The same of a volume, [depth, height, width]: each slice of the view by the slice that its middle lies in,
/// and `outside` in all of it where that is before the first or behind the last: the padding of a volume that
/// is less deep than the view.
template <class Label>
struct VolumeMaskOf {
  std::span<Label> labels;
  std::int64_t depth = 0, height = 0, width = 0;
};
template <class Label>
void move_volume_mask(const VolumeMaskOf<const Label>& volume, const ViewGeometry& geometry, Label outside,
                      const VolumeMaskOf<Label>& view);

/// Rows of 5: left, top, right, bottom, class, as places (Point). A box becomes the smallest upright
/// one around what the view shows of it, and is left out where that is less than `least_part`, 0 … 1, of its
/// area, or nothing. Boxes of no area are left out.
std::vector<float> move_boxes(std::span<const float> boxes, const ViewGeometry& geometry, double least_part);

/// Rows of 3: x, y, class. Points that the view does not show are left out.
std::vector<float> move_points(std::span<const float> points, const ViewGeometry& geometry);

}  // namespace cohort::data
