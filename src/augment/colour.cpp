#include "augment/colour.h"

#include <algorithm>
#include <cmath>

#include "augment/pixel_body.h"
#include "augment/vectorised.h"

namespace cohort::augment {
namespace {

/// Replaces (r, g, b) of each pixel by what `change` makes of them.
template <class Change>
[[gnu::always_inline]] inline void for_each_pixel(Planes& image, const Change& change) {
  float* const red = image.plane(0);
  float* const green = image.plane(1);
  float* const blue = image.plane(2);
  for (std::int64_t i = 0; i < image.pixels(); ++i) change(red[i], green[i], blue[i]);
}

}  // namespace

COHORT_VECTORISED void change_brightness(Planes& image, float factor) {
  for (float& value : image.values) value = in_range(value * factor);
}

COHORT_VECTORISED void change_contrast(Planes& image, float factor) {
  double sum = 0.0;
  for_each_pixel(image, [&](float r, float g, float b) { sum += std::round(luma(r, g, b)); });
  const float offset = contrast_offset(factor, sum, image.pixels());
  for (float& value : image.values) value = in_range(factor * value + offset);
}

COHORT_VECTORISED void change_saturation(Planes& image, float factor) {
  for_each_pixel(image, [&](float& r, float& g, float& b) { saturate(r, g, b, factor); });
}

COHORT_VECTORISED void shift_hue(Planes& image, float shift) {
  const float steps = hue_steps(shift);
  for_each_pixel(image, [&](float& r, float& g, float& b) { turn_hue(r, g, b, steps); });
}

COHORT_VECTORISED void make_gray(Planes& image) {
  for_each_pixel(image, [](float& r, float& g, float& b) { r = g = b = luma(r, g, b); });
}

COHORT_VECTORISED void solarise(Planes& image, float threshold) {
  for (float& value : image.values) value = solarised(value, threshold);
}

namespace {

/// A pixel and its eight neighbours.
float smoothed(const float* at, std::int64_t width) {
  const float around = at[-width - 1] + at[-width] + at[-width + 1] + at[-1] + at[1] + at[width - 1] +
                       at[width] + at[width + 1];
  return (around + 5.0F * at[0]) * (1.0F / 13.0F);
}

std::array<float, 256> equalising_table(const float* plane, std::int64_t pixels) {
  std::array<std::int64_t, 256> counts{};
  for (std::int64_t i = 0; i < pixels; ++i) ++counts[static_cast<std::size_t>(in_range(plane[i]) + 0.5F)];
  std::array<float, 256> table{};
  for (std::size_t value = 0; value < table.size(); ++value) table[value] = static_cast<float>(value);
  const auto last =
      std::find_if(counts.rbegin(), counts.rend(), [](std::int64_t count) { return count > 0; });
  const std::int64_t each = (pixels - *last) / 255;
  if (each == 0) return table;
  std::int64_t below = each / 2;
  for (std::size_t value = 0; value < table.size(); below += counts[value++])
    table[value] = static_cast<float>(std::min<std::int64_t>(below / each, 255));
  return table;
}

using Matrix = std::array<std::array<double, 3>, 3>;

// Rows: haematoxylin, eosin, DAB; columns: density in red, green, blue.
constexpr Matrix kStains{{{0.65, 0.70, 0.29}, {0.07, 0.99, 0.11}, {0.27, 0.57, 0.78}}};

Matrix inverse_of(const Matrix& m) {
  const auto minor = [&](std::size_t r, std::size_t c) {
    const std::size_t r1 = (r + 1) % 3, r2 = (r + 2) % 3, c1 = (c + 1) % 3, c2 = (c + 2) % 3;
    return m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1];
  };
  const double determinant = m[0][0] * minor(0, 0) + m[0][1] * minor(0, 1) + m[0][2] * minor(0, 2);
  Matrix inverse{};
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t c = 0; c < 3; ++c) inverse[c][r] = minor(r, c) / determinant;
  }
  return inverse;
}

/// How densities of colours change: new = old · by + shift.
struct DensityChange {
  std::array<std::array<float, 3>, 3> by{};
  std::array<float, 3> shift{};
};

DensityChange density_change(const std::array<float, 3>& scale, const std::array<float, 3>& shift) {
  static const Matrix unmixing = inverse_of(kStains);
  DensityChange change;
  for (std::size_t to = 0; to < 3; ++to) {
    double moved = 0.0;
    for (std::size_t stain = 0; stain < 3; ++stain)
      moved += static_cast<double>(shift[stain]) * kStains[stain][to];
    change.shift[to] = static_cast<float>(moved);
    for (std::size_t from = 0; from < 3; ++from) {
      double sum = 0.0;
      for (std::size_t stain = 0; stain < 3; ++stain)
        sum += unmixing[from][stain] * static_cast<double>(scale[stain]) * kStains[stain][to];
      change.by[from][to] = static_cast<float>(sum);
    }
  }
  return change;
}

}  // namespace

void change_sharpness(Planes& image, float factor) {
  const Planes before = image;
  const std::int64_t width = image.width;
  for (std::int64_t c = 0; c < image.channels; ++c) {
    for (std::int64_t y = 1; y + 1 < image.height; ++y) {
      const float* const source = before.plane(c) + y * width;
      float* const target = image.plane(c) + y * width;
      for (std::int64_t x = 1; x + 1 < width; ++x)
        target[x] = in_range(factor * source[x] + (1.0F - factor) * smoothed(source + x, width));
    }
  }
}

void posterise(Planes& image, int bits) {
  const float step = static_cast<float>(1 << (8 - bits));
  for (float& value : image.values) value = std::floor(value / step) * step;
}

void stretch_contrast(Planes& image) {
  for (std::int64_t c = 0; c < image.channels; ++c) {
    float* const plane = image.plane(c);
    const auto [lowest, highest] = std::minmax_element(plane, plane + image.pixels());
    if (!(*highest > *lowest)) continue;
    const float low = *lowest, scale = kHighest / (*highest - low);
    for (std::int64_t i = 0; i < image.pixels(); ++i) plane[i] = (plane[i] - low) * scale;
  }
}

void equalise(Planes& image) {
  for (std::int64_t c = 0; c < image.channels; ++c) {
    float* const plane = image.plane(c);
    const std::array<float, 256> table = equalising_table(plane, image.pixels());
    for (std::int64_t i = 0; i < image.pixels(); ++i)
      plane[i] = table[static_cast<std::size_t>(in_range(plane[i]) + 0.5F)];
  }
}

void change_stains(Planes& image, const std::array<float, 3>& scale, const std::array<float, 3>& shift) {
  const DensityChange change = density_change(scale, shift);
  const auto density = [](float value) { return -std::log(std::max(value, 1.0F) * (1.0F / kHighest)); };
  for_each_pixel(image, [&](float& r, float& g, float& b) {
    const std::array<float, 3> before{density(r), density(g), density(b)};
    const auto after = [&](std::size_t to) {
      const float sum = before[0] * change.by[0][to] + before[1] * change.by[1][to] +
                        before[2] * change.by[2][to] + change.shift[to];
      return in_range(kHighest * std::exp(-sum));
    };
    r = after(0);
    g = after(1);
    b = after(2);
  });
}

}  // namespace cohort::augment
