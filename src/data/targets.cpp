#include "cohort/data/targets.h"

#include <algorithm>
#include <cmath>

#include "cohort/core/error.h"

#include "data/polygon.h"

namespace cohort::data {
namespace {

constexpr std::size_t kBoxValues = 5, kPointValues = 3;

struct Interval {
  double low, high;
};

/// Where the line of height `y` meets the convex `polygon`; low > high: nowhere.
Interval crossing(const Polygon& polygon, double y) {
  Interval found{1.0, 0.0};
  bool is_first = true;
  for (std::size_t i = 0; i < polygon.size(); ++i) {
    const Point a = polygon[i], b = polygon[(i + 1) % polygon.size()];
    if ((a.y <= y) == (b.y <= y)) continue;
    const double x = a.x + (y - a.y) / (b.y - a.y) * (b.x - a.x);
    found = is_first ? Interval{x, x} : Interval{std::min(found.low, x), std::max(found.high, x)};
    is_first = false;
  }
  return found;
}

/// Places whose centres lie in low … high, of `size`.
struct Places {
  std::int64_t begin, end;
};

Places places_in(Interval interval, std::int64_t size) {
  if (interval.low > interval.high) return {0, 0};
  const auto place = [&](double value) {
    return std::clamp(static_cast<std::int64_t>(std::ceil(value - 0.5)), std::int64_t{0}, size);
  };
  return {place(interval.low), place(interval.high)};
}

bool lies_in(const Polygon& polygon, Point at) {
  const Interval interval = crossing(polygon, at.y);
  return interval.low <= at.x && at.x <= interval.high;
}

std::int64_t pixel_at(double place, std::int64_t size) {
  return std::clamp(static_cast<std::int64_t>(std::floor(place)), std::int64_t{0}, size - 1);
}

struct Corners {
  Point low, high;
};

Corners corners_of(const Polygon& polygon) {
  Corners corners{polygon.front(), polygon.front()};
  for (const Point point : polygon) {
    corners.low = {std::min(corners.low.x, point.x), std::min(corners.low.y, point.y)};
    corners.high = {std::max(corners.high.x, point.x), std::max(corners.high.y, point.y)};
  }
  return corners;
}

/// A box of the image, in the view.
Polygon moved_box(std::span<const float> box, const Affine& to_view) {
  const auto left = static_cast<double>(box[0]), top = static_cast<double>(box[1]),
             right = static_cast<double>(box[2]), bottom = static_cast<double>(box[3]);
  return {to_view({left, top}), to_view({right, top}), to_view({right, bottom}), to_view({left, bottom})};
}

}  // namespace

template <class Label>
void move_mask(const MaskOf<const Label>& image, const ViewGeometry& geometry, Label outside,
               const MaskOf<Label>& view) {
  COHORT_CHECK(std::ssize(image.labels) == image.height * image.width &&
                   std::ssize(view.labels) == view.height * view.width,
               "masks [height, width] were promised");
  for (std::int64_t y = 0; y < view.height; ++y) {
    const std::span<Label> row =
        view.labels.subspan(static_cast<std::size_t>(y * view.width), static_cast<std::size_t>(view.width));
    std::fill(row.begin(), row.end(), outside);
    const double middle = static_cast<double>(y) + 0.5;
    const Places seen = places_in(crossing(geometry.seen, middle), view.width);
    for (std::int64_t x = seen.begin; x < seen.end; ++x) {
      const Point from = geometry.to_image({static_cast<double>(x) + 0.5, middle});
      const std::int64_t pixel = pixel_at(from.y, image.height) * image.width + pixel_at(from.x, image.width);
      row[static_cast<std::size_t>(x)] = image.labels[static_cast<std::size_t>(pixel)];
    }
  }
}

template void move_mask(const MaskOf<const std::uint8_t>&, const ViewGeometry&, std::uint8_t,
                        const MaskOf<std::uint8_t>&);
template void move_mask(const MaskOf<const std::int32_t>&, const ViewGeometry&, std::int32_t,
                        const MaskOf<std::int32_t>&);

template <class Label>
void move_volume_mask(const VolumeMaskOf<const Label>& volume, const ViewGeometry& geometry, Label outside,
                      const VolumeMaskOf<Label>& view) {
  COHORT_CHECK(std::ssize(volume.labels) == volume.depth * volume.height * volume.width &&
                   std::ssize(view.labels) == view.depth * view.height * view.width,
               "masks [depth, height, width] were promised");
  const auto slice_of = [](const auto& mask, std::int64_t z) {
    const auto size = static_cast<std::size_t>(mask.height * mask.width);
    return mask.labels.subspan(static_cast<std::size_t>(z) * size, size);
  };
  for (std::int64_t z = 0; z < view.depth; ++z) {
    const std::span<Label> slice = slice_of(view, z);
    const double from = geometry.depth(static_cast<double>(z) + 0.5);
    if (from < 0 || from >= static_cast<double>(volume.depth))
      std::fill(slice.begin(), slice.end(), outside);
    else
      move_mask<Label>({slice_of(volume, static_cast<std::int64_t>(from)), volume.height, volume.width},
                       geometry, outside, {slice, view.height, view.width});
  }
}

template void move_volume_mask(const VolumeMaskOf<const std::uint8_t>&, const ViewGeometry&, std::uint8_t,
                               const VolumeMaskOf<std::uint8_t>&);
template void move_volume_mask(const VolumeMaskOf<const std::int32_t>&, const ViewGeometry&, std::int32_t,
                               const VolumeMaskOf<std::int32_t>&);

std::vector<float> move_boxes(std::span<const float> boxes, const ViewGeometry& geometry, double least_part) {
  COHORT_CHECK(boxes.size() % kBoxValues == 0, "rows of {} values were promised", kBoxValues);
  const Affine to_view = geometry.to_image.inverse();
  std::vector<float> moved;
  for (std::size_t i = 0; i < boxes.size(); i += kBoxValues) {
    const std::span<const float> box = boxes.subspan(i, kBoxValues);
    const Polygon whole = moved_box(box, to_view), shown = shared_part(whole, geometry.seen);
    const double area = area_of(shown);
    if (!(area > 0.0) || area < least_part * area_of(whole)) continue;
    const Corners corners = corners_of(shown);
    for (const double value : {corners.low.x, corners.low.y, corners.high.x, corners.high.y})
      moved.push_back(static_cast<float>(value));
    moved.push_back(box[4]);
  }
  return moved;
}

std::vector<float> move_points(std::span<const float> points, const ViewGeometry& geometry) {
  COHORT_CHECK(points.size() % kPointValues == 0, "rows of {} values were promised", kPointValues);
  const Affine to_view = geometry.to_image.inverse();
  std::vector<float> moved;
  for (std::size_t i = 0; i < points.size(); i += kPointValues) {
    const Point at = to_view({static_cast<double>(points[i]), static_cast<double>(points[i + 1])});
    if (!lies_in(geometry.seen, at)) continue;
    for (const double value : {at.x, at.y}) moved.push_back(static_cast<float>(value));
    moved.push_back(points[i + 2]);
  }
  return moved;
}

}  // namespace cohort::data
