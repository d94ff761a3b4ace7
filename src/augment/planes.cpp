#include "augment/planes.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "cohort/data/pixel_type.h"

#include "augment/vectorised.h"

namespace cohort::augment {
namespace {

/// The weights of the input pixels first, first + 1 … for one output pixel.
struct Window {
  std::int64_t first = 0;
  std::vector<float> weights;
};

double bicubic(double x) {
  constexpr double kA = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((kA + 2.0) * x - (kA + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * kA;
  return 0.0;
}

double bilinear(double x) {
  return std::max(0.0, 1.0 - std::abs(x));
}

std::vector<Window> windows(std::int64_t inputs, double begin, double length, std::int64_t outputs,
                            Filter filter) {
  const double scale = length / static_cast<double>(outputs), widened = std::max(scale, 1.0);
  const double support = (filter == Filter::bicubic ? 2.0 : 1.0) * widened;
  std::vector<Window> all(static_cast<std::size_t>(outputs));
  for (std::int64_t i = 0; i < outputs; ++i) {
    const double centre = begin + (static_cast<double>(i) + 0.5) * scale;
    const auto low = std::max<std::int64_t>(0, static_cast<std::int64_t>(centre - support + 0.5));
    const auto high = std::min(inputs, static_cast<std::int64_t>(centre + support + 0.5));
    Window& window = all[static_cast<std::size_t>(i)];
    window.first = low;
    double sum = 0.0;
    for (std::int64_t x = low; x < high; ++x) {
      const double at = (static_cast<double>(x) - centre + 0.5) / widened;
      const double weight = filter == Filter::bicubic ? bicubic(at) : bilinear(at);
      window.weights.push_back(static_cast<float>(weight));
      sum += weight;
    }
    for (float& weight : window.weights) weight = static_cast<float>(weight / sum);
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
  for (std::int64_t i = 0; i < count; ++i) row[i] = std::min(std::max(row[i], lowest), highest);
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
COHORT_VECTORISED void resize_rows(const float* source, std::int64_t columns, const std::vector<Window>& all,
                                   float* target, float lowest, float highest) {
  for (const Window& window : all) {
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

/// Of a box whose radius need not be whole: ones, and a part at the edge; normalised.
std::vector<float> box_weights(double gaussian_radius) {
  constexpr double kPasses = 3.0;
  const double variance = gaussian_radius * gaussian_radius / kPasses;
  const double whole = std::floor((std::sqrt(12.0 * variance + 1.0) - 1.0) / 2.0);
  const double part = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance) /
                      (6.0 * (variance - (whole + 1.0) * (whole + 1.0)));
  const double each = 1.0 / (2.0 * (whole + part) + 1.0);
  std::vector<float> weights(static_cast<std::size_t>(whole) + 1, static_cast<float>(each));
  weights.push_back(static_cast<float>(each * part));
  return weights;
}

void blur_thrice(std::vector<float>& plane, std::vector<float>& scratch, std::int64_t rows,
                 std::int64_t columns, const std::vector<float>& weights) {
  for (int pass = 0; pass < 3; ++pass) {
    blur_rows(plane.data(), scratch.data(), rows, columns, weights);
    plane.swap(scratch);
  }
}

/// 0 1 2 1 0 1 …: mirrored, the edge not repeated.
std::int64_t mirrored(std::int64_t at, std::int64_t size) {
  if (size == 1) return 0;
  const std::int64_t period = 2 * (size - 1);
  at = ((at % period) + period) % period;
  return at < size ? at : period - at;
}

/// [side, side] with an odd side; the sum is 1.
std::vector<double> disc(std::int64_t radius, std::int64_t& side) {
  const std::int64_t reach = radius <= 8 ? 8 : radius;
  const std::int64_t blur = radius <= 8 ? 1 : 2;
  side = 2 * (reach + blur) + 1;
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
  for (double& value : smooth) value /= sum;
  return smooth;
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
  const auto columns = windows(image.width, box.left, box.width, width, filter);
  const auto rows = windows(image.height, box.top, box.height, height, filter);
  // Only the input rows under some window, as columns of the transposed plane.
  const std::int64_t first = rows.front().first,
                     count = rows.back().first + std::ssize(rows.back().weights) - first;
  std::vector<Window> shifted = rows;
  for (Window& window : shifted) window.first -= first;
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

void defocus(Planes& image, std::int64_t radius) {
  std::int64_t side = 0;
  const std::vector<double> kernel = disc(radius, side);
  const std::int64_t reach = side / 2, height = image.height, width = image.width, padded = width + 2 * reach;
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
          const auto weight = static_cast<float>(kernel[static_cast<std::size_t>(dy * side + dx)]);
          if (weight > 0.0F) scale_row<true>(out, rows.data() + (y + dy) * padded + dx, weight, width);
        }
      }
    }
  }
}

Planes rotated(const Planes& image, double degrees) {
  const double angle = degrees * std::numbers::pi / 180.0, cosine = std::cos(angle), sine = std::sin(angle);
  const double middle_y = static_cast<double>(image.height - 1) / 2,
               middle_x = static_cast<double>(image.width - 1) / 2;
  Planes result(image.channels, image.height, image.width);
  for (std::int64_t y = 0; y < image.height; ++y) {
    for (std::int64_t x = 0; x < image.width; ++x) {
      const double dy = static_cast<double>(y) - middle_y, dx = static_cast<double>(x) - middle_x;
      const double from_x = middle_x + cosine * dx - sine * dy, from_y = middle_y + sine * dx + cosine * dy;
      const double floor_x = std::floor(from_x), floor_y = std::floor(from_y);
      const auto wx = static_cast<float>(from_x - floor_x), wy = static_cast<float>(from_y - floor_y);
      const std::int64_t left = mirrored(static_cast<std::int64_t>(floor_x), image.width),
                         right = mirrored(static_cast<std::int64_t>(floor_x) + 1, image.width),
                         top = mirrored(static_cast<std::int64_t>(floor_y), image.height) * image.width,
                         bottom =
                             mirrored(static_cast<std::int64_t>(floor_y) + 1, image.height) * image.width;
      for (std::int64_t c = 0; c < image.channels; ++c) {
        const float* const plane = image.plane(c);
        const float upper = plane[top + left] + wx * (plane[top + right] - plane[top + left]);
        const float lower = plane[bottom + left] + wx * (plane[bottom + right] - plane[bottom + left]);
        result.plane(c)[y * image.width + x] = upper + wy * (lower - upper);
      }
    }
  }
  return result;
}

}  // namespace cohort::augment
