#include "augment/colour.h"

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

}  // namespace cohort::augment
