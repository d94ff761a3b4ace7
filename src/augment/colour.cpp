#include "augment/colour.h"

#include <algorithm>
#include <cmath>

#include "augment/vectorised.h"

namespace cohort::augment {
namespace {

constexpr float kHighest = 255.0F;
constexpr float kHues = 256.0F;  // Pillow's hue is a byte that wraps

[[gnu::always_inline]] inline float luma(float red, float green, float blue) {
  return 0.299F * red + 0.587F * green + 0.114F * blue;
}

[[gnu::always_inline]] inline float within(float value) {
  return std::min(std::max(value, 0.0F), kHighest);
}

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
  for (float& value : image.values) value = within(value * factor);
}

COHORT_VECTORISED void change_contrast(Planes& image, float factor) {
  double sum = 0.0;
  for_each_pixel(image, [&](float r, float g, float b) { sum += std::round(luma(r, g, b)); });
  const auto mean = static_cast<float>(std::floor(sum / static_cast<double>(image.pixels()) + 0.5));
  const float offset = (1.0F - factor) * mean;
  for (float& value : image.values) value = within(factor * value + offset);
}

COHORT_VECTORISED void change_saturation(Planes& image, float factor) {
  for_each_pixel(image, [&](float& r, float& g, float& b) {
    const float gray = (1.0F - factor) * luma(r, g, b);
    r = within(factor * r + gray);
    g = within(factor * g + gray);
    b = within(factor * b + gray);
  });
}

// HSV to RGB without its six cases: each channel is value - value · saturation · t with t in 0 … 1 a
// trapezium of the hue (f(n) = v - v s max(0, min(k, 4 - k, 1)), k = (n + h/60°) mod 6, n = 5, 3, 1).
COHORT_VECTORISED void shift_hue(Planes& image, float shift) {
  const float steps = std::trunc(shift * kHighest);
  for_each_pixel(image, [&](float& r, float& g, float& b) {
    const float highest = std::max(r, std::max(g, b)), lowest = std::min(r, std::min(g, b));
    const float range = highest - lowest, scale = 1.0F / std::max(range, 1e-6F);
    const float of_red = (g - b) * scale, of_green = 2.0F + (b - r) * scale, of_blue = 4.0F + (r - g) * scale;
    float sixth = (highest == r ? of_red : highest == g ? of_green : of_blue) * (1.0F / 6.0F);
    sixth -= std::floor(sixth);
    float hue = std::floor(sixth * kHighest) + steps;
    hue -= kHues * std::floor(hue * (1.0F / kHues));
    const float saturation = std::floor(range / std::max(highest, 1e-6F) * kHighest);
    const float chroma = highest * saturation * (1.0F / kHighest), position = hue * (6.0F / kHighest);
    const auto channel = [&](float n) {
      float k = n + position;
      k -= 6.0F * std::floor(k * (1.0F / 6.0F));
      return highest - chroma * std::max(0.0F, std::min(std::min(k, 4.0F - k), 1.0F));
    };
    r = channel(5.0F);
    g = channel(3.0F);
    b = channel(1.0F);
  });
}

COHORT_VECTORISED void make_gray(Planes& image) {
  for_each_pixel(image, [](float& r, float& g, float& b) { r = g = b = luma(r, g, b); });
}

COHORT_VECTORISED void solarise(Planes& image, float threshold) {
  for (float& value : image.values) value = value < threshold ? value : kHighest - value;
}

}  // namespace cohort::augment
