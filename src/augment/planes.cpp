#include "augment/planes.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "cohort/data/pixel_type.h"

#include "augment/vectorised.h"

namespace cohort::augment {
namespace {

/// The weights of the input pixels first, first + 1 … for one output pixel.
struct WeightedWindow {
  std::int64_t first = 0;
  std::vector<float> weights;
};

std::vector<WeightedWindow> windows(const Resampling& of) {
  std::vector<WeightedWindow> all(static_cast<std::size_t>(of.outputs));
  for (std::int64_t i = 0; i < of.outputs; ++i) {
    const Window window = window_of(of, i);
    WeightedWindow& weighted = all[static_cast<std::size_t>(i)];
    weighted.first = window.first;
    weighted.weights.resize(static_cast<std::size_t>(window.count));
    write_weights(of, i, window, weighted.weights.data());
  }
  return all;
}

/// target[i] (+)= weight * source[i]. In parts of a fixed size, which is what GCC makes vector code of at
/// -O2.
template <bool kAdd>
void scale_row(float* __restrict target, const float* __restrict source, float weight, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) target[i] = (kAdd ? target[i] : 0.0F) + weight * source[i];
}

COHORT_VECTORISED void clamp_row(float* row, std::int64_t count, float lowest, float highest) {
  for (std::int64_t i = 0; i < count; ++i) row[i] = within(row[i], lowest, highest);
}

/// A [rows, columns] plane -> [columns, rows].
COHORT_VECTORISED void transpose(const float* source, float* target, std::int64_t rows,
                                 std::int64_t columns) {
  constexpr std::int64_t kTile = 16;
  for (std::int64_t top = 0; top < rows; top += kTile) {
    for (std::int64_t left = 0; left < columns; left += kTile) {
      for (std::int64_t y = top; y < std::min(rows, top + kTile); ++y) {
        for (std::int64_t x = left; x < std::min(columns, left + kTile); ++x)
          target[x * rows + y] = source[y * columns + x];
      }
    }
  }
}

/// Combines whole rows of a plane, so that all columns are computed at once.
COHORT_VECTORISED void resize_rows(const float* source, std::int64_t columns,
                                   const std::vector<WeightedWindow>& all, float* target, float lowest,
                                   float highest) {
  for (const WeightedWindow& window : all) {
    const float* row = source + window.first * columns;
    scale_row<false>(target, row, window.weights.front(), columns);
    for (std::size_t i = 1; i < window.weights.size(); ++i)
      scale_row<true>(target, row + static_cast<std::int64_t>(i) * columns, window.weights[i], columns);
    clamp_row(target, columns, lowest, highest);
    target += columns;
  }
}

/// One box blur along the rows' direction (over y), repeated borders: weights[k] is that of distance k.
COHORT_VECTORISED void blur_rows(const float* source, float* target, std::int64_t rows, std::int64_t columns,
                                 const std::vector<float>& weights) {
  const auto row = [&](std::int64_t y) {
    return source + std::clamp<std::int64_t>(y, 0, rows - 1) * columns;
  };
  for (std::int64_t y = 0; y < rows; ++y) {
    float* out = target + y * columns;
    scale_row<false>(out, row(y), weights[0], columns);
    for (std::int64_t k = 1; k < std::ssize(weights); ++k) {
      scale_row<true>(out, row(y - k), weights[static_cast<std::size_t>(k)], columns);
      scale_row<true>(out, row(y + k), weights[static_cast<std::size_t>(k)], columns);
    }
  }
}

/// By distance.
std::vector<float> box_weights(double gaussian_radius) {
  const BoxBlur box = box_blur(gaussian_radius);
  std::vector<float> weights(static_cast<std::size_t>(box.reach), box.inner);
  weights.push_back(box.edge);
  return weights;
}

void blur_thrice(std::vector<float>& plane, std::vector<float>& scratch, std::int64_t rows,
                 std::int64_t columns, const std::vector<float>& weights) {
  for (int pass = 0; pass < 3; ++pass) {
    blur_rows(plane.data(), scratch.data(), rows, columns, weights);
    plane.swap(scratch);
  }
}

/// Of a point inside of the image.
using WarpedPoint = RotatedPoint;

WarpedPoint nearest_point(data::Point at) {
  const auto x = static_cast<std::int64_t>(at.x), y = static_cast<std::int64_t>(at.y);
  return {x, x, y, y, 0.0F, 0.0F};
}

WarpedPoint point_between(data::Point at, const Planes& image) {
  const double x = at.x - 0.5, y = at.y - 0.5, floor_x = std::floor(x), floor_y = std::floor(y);
  const auto column = [&](double value) {
    return std::clamp<std::int64_t>(static_cast<std::int64_t>(value), 0, image.width - 1);
  };
  const auto row = [&](double value) {
    return std::clamp<std::int64_t>(static_cast<std::int64_t>(value), 0, image.height - 1);
  };
  return {column(floor_x),    column(floor_x + 1.0),           row(floor_y),
          row(floor_y + 1.0), static_cast<float>(x - floor_x), static_cast<float>(y - floor_y)};
}

}  // namespace

Planes planes_of(const data::ImageLayout& layout, std::span<const std::byte> stored) {
  Planes image(layout.channels, layout.height, layout.width);
  data::visit_pixels(layout.type, stored.data(),
                     [&](const auto* values) { std::copy_n(values, layout.values(), image.values.data()); });
  return image;
}

Planes resized(const Planes& image, const Box& box, std::int64_t height, std::int64_t width, Filter filter,
               float lowest, float highest) {
  const auto columns = windows({image.width, box.left, box.width, width, filter});
  const auto rows = windows({image.height, box.top, box.height, height, filter});
  // Only the input rows under some window, as columns of the transposed plane.
  const std::int64_t first = rows.front().first,
                     count = rows.back().first + std::ssize(rows.back().weights) - first;
  std::vector<WeightedWindow> shifted = rows;
  for (WeightedWindow& window : shifted) window.first -= first;
  Planes result(image.channels, height, width);
  std::vector<float> turned(static_cast<std::size_t>(image.width * count)),
      narrow(static_cast<std::size_t>(width * count)), back(narrow.size());
  for (std::int64_t c = 0; c < image.channels; ++c) {
    transpose(image.plane(c) + first * image.width, turned.data(), count, image.width);
    resize_rows(turned.data(), count, columns, narrow.data(), lowest, highest);
    transpose(narrow.data(), back.data(), width, count);
    resize_rows(back.data(), width, shifted, result.plane(c), lowest, highest);
  }
  return result;
}

void flip_horizontally(Planes& image) {
  for (auto row = image.values.begin(); row != image.values.end(); row += image.width)
    std::reverse(row, row + image.width);
}

void flip_vertically(Planes& image) {
  for (std::int64_t c = 0; c < image.channels; ++c) {
    for (std::int64_t y = 0; y < image.height / 2; ++y) {
      float* const upper = image.plane(c) + y * image.width;
      std::swap_ranges(upper, upper + image.width, image.plane(c) + (image.height - 1 - y) * image.width);
    }
  }
}

void gaussian_blur(Planes& image, double radius) {
  if (radius <= 0.0) return;
  const std::vector<float> weights = box_weights(radius);
  const auto size = static_cast<std::size_t>(image.pixels());
  std::vector<float> plane(size), scratch(size);
  for (std::int64_t c = 0; c < image.channels; ++c) {
    transpose(image.plane(c), plane.data(), image.height, image.width);
    blur_thrice(plane, scratch, image.width, image.height, weights);
    transpose(plane.data(), scratch.data(), image.width, image.height);
    plane.swap(scratch);
    blur_thrice(plane, scratch, image.height, image.width, weights);
    std::copy(plane.begin(), plane.end(), image.plane(c));
  }
}

Disc disc_of(std::int64_t radius) {
  const std::int64_t reach = radius <= 8 ? 8 : radius;
  const std::int64_t blur = radius <= 8 ? 1 : 2;
  const std::int64_t side = 2 * (reach + blur) + 1;
  std::vector<double> mask(static_cast<std::size_t>(side * side), 0.0), smooth(mask.size(), 0.0);
  const std::int64_t centre = reach + blur;
  for (std::int64_t y = -reach; y <= reach; ++y) {
    for (std::int64_t x = -reach; x <= reach; ++x)
      mask[static_cast<std::size_t>((centre + y) * side + centre + x)] =
          x * x + y * y <= radius * radius ? 1.0 : 0.0;
  }
  double sum = 0.0;
  for (std::int64_t y = 0; y < side; ++y) {
    for (std::int64_t x = 0; x < side; ++x) {
      double value = 0.0;
      for (std::int64_t dy = -blur; dy <= blur; ++dy) {
        for (std::int64_t dx = -blur; dx <= blur; ++dx) {
          if (y + dy < 0 || y + dy >= side || x + dx < 0 || x + dx >= side) continue;
          const double weight = std::exp(-static_cast<double>(dx * dx + dy * dy) / (2 * 0.1 * 0.1));
          value += weight * mask[static_cast<std::size_t>((y + dy) * side + x + dx)];
        }
      }
      smooth[static_cast<std::size_t>(y * side + x)] = value;
      sum += value;
    }
  }
  Disc disc{side, {}};
  for (const double value : smooth) disc.weights.push_back(static_cast<float>(value / sum));
  return disc;
}

void defocus(Planes& image, std::int64_t radius) {
  const Disc disc = disc_of(radius);
  const std::int64_t side = disc.side, reach = side / 2, height = image.height, width = image.width,
                     padded = width + 2 * reach;
  std::vector<float> rows(static_cast<std::size_t>((height + 2 * reach) * padded));
  for (std::int64_t c = 0; c < image.channels; ++c) {
    float* const plane = image.plane(c);
    for (std::int64_t y = 0; y < height + 2 * reach; ++y) {
      const float* const source = plane + mirrored(y - reach, height) * width;
      for (std::int64_t x = 0; x < padded; ++x)
        rows[static_cast<std::size_t>(y * padded + x)] = source[mirrored(x - reach, width)];
    }
    for (std::int64_t y = 0; y < height; ++y) {
      float* const out = plane + y * width;
      std::fill_n(out, width, 0.0F);
      for (std::int64_t dy = 0; dy < side; ++dy) {
        for (std::int64_t dx = 0; dx < side; ++dx) {
          const float weight = disc.weights[static_cast<std::size_t>(dy * side + dx)];
          if (weight > 0.0F) scale_row<true>(out, rows.data() + (y + dy) * padded + dx, weight, width);
        }
      }
    }
  }
}

Rotation rotation_by(double degrees) {
  const double angle = degrees * std::numbers::pi / 180.0;
  return {std::cos(angle), std::sin(angle)};
}

Planes rotated(const Planes& image, double degrees) {
  return rotated(image, rotation_by(degrees));
}

Planes rotated(const Planes& image, const Rotation& rotation) {
  Planes result(image.channels, image.height, image.width);
  for (std::int64_t y = 0; y < image.height; ++y) {
    for (std::int64_t x = 0; x < image.width; ++x) {
      const RotatedPoint point =
          rotated_point(y, x, image.height, image.width, rotation.cosine, rotation.sine);
      for (std::int64_t c = 0; c < image.channels; ++c)
        result.plane(c)[y * image.width + x] = rotated_value(point, image.plane(c), image.width);
    }
  }
  return result;
}

Planes warped(const Planes& image, const data::Affine& from, Filter filter) {
  const std::int64_t height = image.height, width = image.width;
  Planes result(image.channels, height, width);
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      const data::Point at = from({static_cast<double>(x) + 0.5, static_cast<double>(y) + 0.5});
      if (!(at.x >= 0.0 && at.x < static_cast<double>(width) && at.y >= 0.0 &&
            at.y < static_cast<double>(height)))
        continue;
      const WarpedPoint point = filter == Filter::nearest ? nearest_point(at) : point_between(at, image);
      for (std::int64_t c = 0; c < image.channels; ++c)
        result.plane(c)[y * width + x] = rotated_value(point, image.plane(c), width);
    }
  }
  return result;
}

}  // namespace cohort::augment
