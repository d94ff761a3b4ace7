#include "augment/rand_augment.h"

#include <cmath>
#include <numbers>

namespace cohort::augment {
namespace {

double radians(double degrees) {
  return degrees * std::numbers::pi / 180.0;
}

Step warp(const data::Affine& from) {
  return step::Warp{from, Filter::nearest};
}

Step colour(step::Colour::Change change, double amount) {
  return step::Colour{change, static_cast<float>(amount)};
}

/// Highest bits that are kept.
double kept_bits(double part) {
  return 8.0 - std::nearbyint(part * 4.0);
}

}  // namespace

data::Affine inverse_of(const AffineParts& parts, Sides view) {
  const double turn = radians(parts.degrees), x = radians(parts.shear_x), y = radians(parts.shear_y);
  const double a = std::cos(turn - y) / std::cos(y),
               b = -std::cos(turn - y) * std::tan(x) / std::cos(y) - std::sin(turn),
               c = std::sin(turn - y) / std::cos(y),
               d = -std::sin(turn - y) * std::tan(x) / std::cos(y) + std::cos(turn);
  const double middle_x = static_cast<double>(view.width) / 2,
               middle_y = static_cast<double>(view.height) / 2;
  data::Affine from{d / parts.scale, -b / parts.scale, 0, -c / parts.scale, a / parts.scale, 0};
  const data::Point shifted = from({-middle_x - parts.right, -middle_y - parts.down});
  from.x0 = shifted.x + middle_x;
  from.y0 = shifted.y + middle_y;
  return from;
}

std::optional<Step> rand_augment_step(RandAugmentChange change, std::int64_t magnitude, bool negative,
                                      Sides view) {
  using enum RandAugmentChange;
  using Colour = step::Colour::Change;
  const double part = static_cast<double>(magnitude) / static_cast<double>(kRandAugmentMagnitudes - 1),
               sign = negative ? -1.0 : 1.0;
  const auto shift = [&](std::int64_t side) {
    return std::trunc(sign * part * 150.0 / 331.0 * static_cast<double>(side));
  };
  switch (change) {
    case identity:
      return std::nullopt;
    case shear_x:
      return warp({1, sign * 0.3 * part, 0, 0, 1, 0});
    case shear_y:
      return warp({1, 0, 0, sign * 0.3 * part, 1, 0});
    case translate_x:
      return warp({1, 0, -shift(view.width), 0, 1, 0});
    case translate_y:
      return warp({1, 0, 0, 0, 1, -shift(view.height)});
    case rotate: {
      const Rotation by = rotation_by(sign * 30.0 * part);
      return warp(rotated_view(by.cosine, by.sine, view.height, view.width));
    }
    case brightness:
      return colour(Colour::brightness, 1.0 + sign * 0.9 * part);
    case saturation:
      return colour(Colour::saturation, 1.0 + sign * 0.9 * part);
    case contrast:
      return colour(Colour::contrast, 1.0 + sign * 0.9 * part);
    case sharpness:
      return colour(Colour::sharpness, 1.0 + sign * 0.9 * part);
    case posterise:
      return colour(Colour::posterise, kept_bits(part));
    case solarise:
      return colour(Colour::solarise, 255.0 * (1.0 - part));
    case autocontrast:
      return colour(Colour::autocontrast, 0.0);
    case equalise:
      return colour(Colour::equalise, 0.0);
  }
  return std::nullopt;
}

}  // namespace cohort::augment
