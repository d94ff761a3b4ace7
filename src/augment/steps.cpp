#include "augment/steps.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "cohort/core/error.h"

#include "augment/colour.h"
#include "augment/noise.h"

namespace cohort::augment {
namespace {

/// Values that filters keep within: those of the stored type.
struct Limits {
  float lowest, highest;
};

Limits limits_of(data::PixelType type) {
  if (type == data::PixelType::u8) return {0.0F, kHighest};
  if (type == data::PixelType::u16) return {0.0F, 65535.0F};
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  return {-kInfinity, kInfinity};
}

Planes padded_crop(const Planes& image, const step::PaddedCrop& from, Sides size) {
  Planes crop(image.channels, size.height, size.width);
  const std::int64_t first_y = std::max<std::int64_t>(0, -from.top),
                     last_y = std::min(size.height, image.height - from.top),
                     first_x = std::max<std::int64_t>(0, -from.left),
                     last_x = std::min(size.width, image.width - from.left);
  for (std::int64_t c = 0; c < image.channels; ++c) {
    for (std::int64_t y = first_y; y < last_y && first_x < last_x; ++y) {
      std::copy_n(image.plane(c) + (y + from.top) * image.width + first_x + from.left, last_x - first_x,
                  crop.plane(c) + y * size.width + first_x);
    }
  }
  return crop;
}

Planes quarter_turned(const Planes& image, std::int32_t turns) {
  const bool swaps = turns % 2 != 0;
  Planes turned(image.channels, swaps ? image.width : image.height, swaps ? image.height : image.width);
  const data::Affine from = quarter_turned_view(turns, image.height, image.width);
  for (std::int64_t c = 0; c < image.channels; ++c) {
    float* out = turned.plane(c);
    for (std::int64_t y = 0; y < turned.height; ++y) {
      for (std::int64_t x = 0; x < turned.width; ++x) {
        const data::Point at = from({static_cast<double>(x) + 0.5, static_cast<double>(y) + 0.5});
        *out++ =
            image.plane(c)[static_cast<std::int64_t>(at.y) * image.width + static_cast<std::int64_t>(at.x)];
      }
    }
  }
  return turned;
}

void fill(float* plane, std::int64_t width, const Rectangle& part, float value) {
  for (std::int64_t y = part.top; y < part.top + part.height; ++y)
    std::fill_n(plane + y * width + part.left, part.width, value);
}

void jitter(Planes& image, const step::Jitter& by) {
  for (const std::uint8_t change : by.order) {
    if (change == kBrightness) change_brightness(image, by.brightness);
    if (change == kContrast) change_contrast(image, by.contrast);
    if (change == kSaturation) change_saturation(image, by.saturation);
    if (change == kHue) shift_hue(image, by.hue);
  }
}

void change_colour(Planes& image, const step::Colour& by) {
  using enum step::Colour::Change;
  switch (by.change) {
    case brightness:
      return change_brightness(image, by.amount);
    case contrast:
      return change_contrast(image, by.amount);
    case saturation:
      return change_saturation(image, by.amount);
    case sharpness:
      return change_sharpness(image, by.amount);
    case posterise:
      return augment::posterise(image, static_cast<int>(by.amount));
    case solarise:
      return augment::solarise(image, by.amount);
    case autocontrast:
      return stretch_contrast(image);
    case equalise:
      return augment::equalise(image);
    case gray:
      return make_gray(image);
  }
}

/// Changes a view; crops have made it.
struct Change {
  Planes& view;
  const data::Description& dataset;

  template <class OfVolumes>
  void operator()(const OfVolumes&) const {
    COHORT_CHECK(false, "a step of volumes in an image");
  }
  void operator()(const step::Crop&) const {}
  void operator()(const step::PaddedCrop&) const {}
  void operator()(const step::Mirror&) const { flip_horizontally(view); }
  void operator()(const step::UpsideDown&) const { flip_vertically(view); }
  void operator()(const step::QuarterTurns& turns) const { view = quarter_turned(view, turns.count); }
  void operator()(const step::Rotate& by) const { view = rotated(view, {by.cosine, by.sine}); }
  void operator()(const step::Warp& warp) const { view = warped(view, warp.from, warp.filter); }
  void operator()(const step::Jitter& by) const { jitter(view, by); }
  void operator()(const step::Colour& by) const { change_colour(view, by); }
  void operator()(const step::Stain& by) const { change_stains(view, by.scale, by.shift); }
  void operator()(const step::Blur& blur) const { gaussian_blur(view, blur.radius); }
  void operator()(const step::Defocus& by) const { defocus(view, by.radius); }
  void operator()(const step::Holes& holes) const {
    for (std::int64_t c = 0; c < view.channels; ++c) {
      for (std::int32_t i = 0; i < holes.count; ++i)
        fill(view.plane(c), view.width, holes.part.at(static_cast<std::size_t>(i)), 0.0F);
    }
  }
  void operator()(const step::Erase& erase) const {
    for (std::int64_t c = 0; c < view.channels; ++c) {
      fill(view.plane(c), view.width, erase.part,
           static_cast<float>(dataset.mean[static_cast<std::size_t>(c)]));
    }
  }
  void operator()(const step::Noise& noise) const {
    RandomStream numbers(noise.key);
    for (std::int64_t c = 0; c < view.channels; ++c) {
      add_noise({view.plane(c), static_cast<std::size_t>(view.pixels())},
                noise.deviation * dataset.deviation[static_cast<std::size_t>(c)], numbers);
    }
  }
};

/// Place after a step -> place before it; none: pixels stay where they are.
struct Movement {
  Sides size;

  std::optional<data::Affine> operator()(const step::Crop& crop) const {
    return resized_box(crop.box, size.height, size.width);
  }
  std::optional<data::Affine> operator()(const step::PaddedCrop& crop) const {
    return data::Affine{1, 0, static_cast<double>(crop.left), 0, 1, static_cast<double>(crop.top)};
  }
  std::optional<data::Affine> operator()(const step::Mirror&) const { return mirrored_view(size.width); }
  std::optional<data::Affine> operator()(const step::UpsideDown&) const {
    return upside_down_view(size.height);
  }
  std::optional<data::Affine> operator()(const step::QuarterTurns& turns) const {
    return quarter_turned_view(turns.count, size.height, size.width);
  }
  std::optional<data::Affine> operator()(const step::Rotate& by) const {
    return rotated_view(by.cosine, by.sine, size.height, size.width);
  }
  std::optional<data::Affine> operator()(const step::Warp& warp) const { return warp.from; }
  template <class Other>
  std::optional<data::Affine> operator()(const Other&) const {
    return std::nullopt;
  }
};

Planes cut_by(std::span<const Step> steps, const Planes& image, Sides size, data::PixelType type) {
  if (steps.empty()) return image;
  if (const auto* crop = std::get_if<step::Crop>(&steps.front())) {
    const Limits limits = limits_of(type);
    return resized(image, crop->box, size.height, size.width, crop->filter, limits.lowest, limits.highest);
  }
  if (const auto* crop = std::get_if<step::PaddedCrop>(&steps.front()))
    return padded_crop(image, *crop, size);
  return image;
}

}  // namespace

Planes made_by(std::span<const Step> steps, const Planes& image, Sides size,
               const data::Description& dataset) {
  Planes view = cut_by(steps, image, size, dataset.images.type);
  for (const Step& step : steps) std::visit(Change{view, dataset}, step);
  return view;
}

data::ViewGeometry geometry_of(std::span<const Step> steps, Sides image, Sides size) {
  data::ViewGeometry geometry = geometry_of_image(image.height, image.width);
  for (const Step& step : steps) {
    if (const auto moved = std::visit(Movement{size}, step))
      geometry = after_step(geometry, *moved, size.height, size.width);
  }
  return geometry;
}

}  // namespace cohort::augment
