#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "augment/recipe.h"
#include "support/device_code.h"

// The arithmetic of views, pixel by pixel: the same for the loops of the CPU and for the threads of a device.
namespace cohort::augment {

inline constexpr float kHighest = 255.0F;

COHORT_DEVICE_CODE float within(float value, float lowest, float highest) {
  return std::min(std::max(value, lowest), highest);
}

COHORT_DEVICE_CODE float in_range(float value) {
  return within(value, 0.0F, kHighest);
}

COHORT_DEVICE_CODE float luma(float red, float green, float blue) {
  return 0.299F * red + 0.587F * green + 0.114F * blue;
}

/// `mean`: of the rounded lumas of the image.
COHORT_DEVICE_CODE float contrast_offset(float factor, double sum_of_lumas, std::int64_t pixels) {
  const auto mean = static_cast<float>(std::floor(sum_of_lumas / static_cast<double>(pixels) + 0.5));
  return (1.0F - factor) * mean;
}

COHORT_DEVICE_CODE void saturate(float& r, float& g, float& b, float factor) {
  const float gray = (1.0F - factor) * luma(r, g, b);
  r = in_range(factor * r + gray);
  g = in_range(factor * g + gray);
  b = in_range(factor * b + gray);
}

/// Pillow's hue is a byte that wraps: the turn in its steps.
COHORT_DEVICE_CODE float hue_steps(float shift) {
  return std::trunc(shift * kHighest);
}

COHORT_DEVICE_CODE float hue_channel(float n, float position, float highest, float chroma) {
  float k = n + position;
  k -= 6.0F * std::floor(k * (1.0F / 6.0F));
  return highest - chroma * std::max(0.0F, std::min(std::min(k, 4.0F - k), 1.0F));
}

// HSV to RGB without its six cases: each channel is value - value · saturation · t with t in 0 … 1 a
// trapezium of the hue (f(n) = v - v s max(0, min(k, 4 - k, 1)), k = (n + h/60°) mod 6, n = 5, 3, 1).
COHORT_DEVICE_CODE void turn_hue(float& r, float& g, float& b, float steps) {
  constexpr float kHues = 256.0F;
  const float highest = std::max(r, std::max(g, b)), lowest = std::min(r, std::min(g, b));
  const float range = highest - lowest, scale = 1.0F / std::max(range, 1e-6F);
  const float of_red = (g - b) * scale, of_green = 2.0F + (b - r) * scale, of_blue = 4.0F + (r - g) * scale;
  float sixth = (highest == r ? of_red : highest == g ? of_green : of_blue) * (1.0F / 6.0F);
  sixth -= std::floor(sixth);
  float hue = std::floor(sixth * kHighest) + steps;
  hue -= kHues * std::floor(hue * (1.0F / kHues));
  const float saturation = std::floor(range / std::max(highest, 1e-6F) * kHighest);
  const float chroma = highest * saturation * (1.0F / kHighest), position = hue * (6.0F / kHighest);
  r = hue_channel(5.0F, position, highest, chroma);
  g = hue_channel(3.0F, position, highest, chroma);
  b = hue_channel(1.0F, position, highest, chroma);
}

COHORT_DEVICE_CODE float solarised(float value, float threshold) {
  return value < threshold ? value : kHighest - value;
}

/// As Pillow's Resampling: NEAREST, BILINEAR, BICUBIC, BOX (area: the mean over the input pixels that an
/// output pixel covers).
enum class Filter { bilinear, bicubic, nearest, area };

/// How `length` input pixels from `begin` on become `outputs` pixels, in one direction.
struct Resampling {
  std::int64_t inputs;
  double begin, length;
  std::int64_t outputs;
  Filter filter;
};

COHORT_DEVICE_CODE double filter_value(Filter filter, double x) {
  constexpr double kA = -0.5;
  if (filter == Filter::nearest) return 1.0;
  if (filter == Filter::area) return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
  x = std::abs(x);
  if (filter == Filter::bilinear) return std::max(0.0, 1.0 - x);
  if (x < 1.0) return ((kA + 2.0) * x - (kA + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * kA;
  return 0.0;
}

/// The input pixels first … first + count - 1 that make one output pixel.
struct Window {
  std::int64_t first = 0, count = 0;
};

/// Largest count of any window for a box within the inputs.
COHORT_DEVICE_CODE std::int64_t most_weights(std::int64_t inputs, std::int64_t outputs) {
  const double scale = static_cast<double>(inputs) / static_cast<double>(outputs);
  return static_cast<std::int64_t>(4.0 * std::max(scale, 1.0)) + 2;
}

/// How far a filter reaches to each side, where nothing is reduced.
COHORT_DEVICE_CODE double reach_of(Filter filter) {
  return filter == Filter::bicubic ? 2.0 : filter == Filter::area ? 0.5 : 1.0;
}

/// Of output pixel i.
COHORT_DEVICE_CODE Window window_of(const Resampling& of, std::int64_t i) {
  const double scale = of.length / static_cast<double>(of.outputs), widened = std::max(scale, 1.0);
  const double support = reach_of(of.filter) * widened;
  const double centre = of.begin + (static_cast<double>(i) + 0.5) * scale;
  if (of.filter == Filter::nearest)
    return {std::min(std::max<std::int64_t>(0, static_cast<std::int64_t>(centre)), of.inputs - 1), 1};
  const std::int64_t first = std::max<std::int64_t>(0, static_cast<std::int64_t>(centre - support + 0.5));
  const std::int64_t end = std::min(of.inputs, static_cast<std::int64_t>(centre + support + 0.5));
  return {first, end - first};
}

/// Writes the weights [window.count] of output pixel i, whose sum is 1.
COHORT_DEVICE_CODE void write_weights(const Resampling& of, std::int64_t i, const Window& window,
                                      float* weights) {
  const double scale = of.length / static_cast<double>(of.outputs), widened = std::max(scale, 1.0);
  const double centre = of.begin + (static_cast<double>(i) + 0.5) * scale;
  double sum = 0.0;
  for (std::int64_t k = 0; k < window.count; ++k) {
    const double at = (static_cast<double>(window.first + k) - centre + 0.5) / widened;
    const double weight = filter_value(of.filter, at);
    weights[k] = static_cast<float>(weight);
    sum += weight;
  }
  for (std::int64_t k = 0; k < window.count; ++k)
    weights[k] = static_cast<float>(static_cast<double>(weights[k]) / sum);
}

/// A box blur whose radius need not be whole: `inner` for distances 0 … reach - 1, `edge` for the distance
/// `reach`.
struct BoxBlur {
  std::int64_t reach;
  float inner, edge;
};

/// Three of these make a Gaussian blur.
COHORT_DEVICE_CODE BoxBlur box_blur(double gaussian_radius) {
  constexpr double kPasses = 3.0;
  const double variance = gaussian_radius * gaussian_radius / kPasses;
  const double whole = std::floor((std::sqrt(12.0 * variance + 1.0) - 1.0) / 2.0);
  const double part = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance) /
                      (6.0 * (variance - (whole + 1.0) * (whole + 1.0)));
  const double each = 1.0 / (2.0 * (whole + part) + 1.0);
  return {static_cast<std::int64_t>(whole) + 1, static_cast<float>(each), static_cast<float>(each * part)};
}

/// 0 1 2 1 0 1 …: mirrored, the edge not repeated.
COHORT_DEVICE_CODE std::int64_t mirrored(std::int64_t at, std::int64_t size) {
  if (at >= 0 && at < size) return at;
  if (at < 0 && -at < size) return -at;
  if (at >= size && at < 2 * size - 1) return 2 * (size - 1) - at;
  if (size == 1) return 0;
  const std::int64_t period = 2 * (size - 1);
  at = ((at % period) + period) % period;
  return at < size ? at : period - at;
}

/// The four pixels between which a point of a rotated image lies, bilinear.
struct RotatedPoint {
  std::int64_t left, right, top, bottom;
  float wx, wy;
};

COHORT_DEVICE_CODE RotatedPoint rotated_point(std::int64_t y, std::int64_t x, std::int64_t height,
                                              std::int64_t width, double cosine, double sine) {
  const double middle_y = static_cast<double>(height - 1) / 2, middle_x = static_cast<double>(width - 1) / 2;
  const double dy = static_cast<double>(y) - middle_y, dx = static_cast<double>(x) - middle_x;
  const double from_x = middle_x + cosine * dx - sine * dy, from_y = middle_y + sine * dx + cosine * dy;
  const double floor_x = std::floor(from_x), floor_y = std::floor(from_y);
  return {mirrored(static_cast<std::int64_t>(floor_x), width),
          mirrored(static_cast<std::int64_t>(floor_x) + 1, width),
          mirrored(static_cast<std::int64_t>(floor_y), height),
          mirrored(static_cast<std::int64_t>(floor_y) + 1, height),
          static_cast<float>(from_x - floor_x),
          static_cast<float>(from_y - floor_y)};
}

COHORT_DEVICE_CODE float rotated_value(const RotatedPoint& point, const float* plane, std::int64_t width) {
  const float* const above = plane + point.top * width;
  const float* const below = plane + point.bottom * width;
  const float upper = above[point.left] + point.wx * (above[point.right] - above[point.left]);
  const float lower = below[point.left] + point.wx * (below[point.right] - below[point.left]);
  return upper + point.wy * (lower - upper);
}

/// Where a resized row or column reads: value = (1 - weight) * source[low] + weight * source[high].
struct Tap {
  std::int64_t low, high;
  float weight;
};

/// Of `size` pixels, number i: `length` pixels from `begin` on are resized to all of them.
COHORT_DEVICE_CODE Tap tap_of(std::int64_t i, std::int64_t size, double begin, double length) {
  const double centre = begin + (static_cast<double>(i) + 0.5) * length / static_cast<double>(size) - 0.5;
  const double inside = std::min(std::max(centre, 0.0), static_cast<double>(size - 1));
  const std::int64_t low = static_cast<std::int64_t>(inside);
  return {low, std::min(low + 1, size - 1), static_cast<float>(inside - std::floor(inside))};
}

/// Between the rows `above` and `below`.
COHORT_DEVICE_CODE float tapped(const float* above, const float* below, float weight, const Tap& column) {
  const float top = above[column.low] + column.weight * (above[column.high] - above[column.low]);
  const float bottom = below[column.low] + column.weight * (below[column.high] - below[column.low]);
  return top + weight * (bottom - top);
}

}  // namespace cohort::augment
