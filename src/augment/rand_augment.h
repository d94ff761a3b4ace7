#pragma once
#include <cstdint>
#include <optional>

#include "augment/steps.h"

namespace cohort::augment {

/// Rotation, enlargement, shears and shift of a view about its centre.
struct AffineParts {
  double degrees = 0, right = 0, down = 0, scale = 1, shear_x = 0, shear_y = 0;  ///< shears in degrees
};
/// Place after -> place before, as torchvision's functional.affine: degrees turn clockwise.
data::Affine inverse_of(const AffineParts& parts, Sides view);

/// The changes of RandAugment (Cubuk et al., "RandAugment: practical automated data augmentation with a
/// reduced search space", CVPR workshops 2020) in the order and with the ranges of torchvision's RandAugment.
enum class RandAugmentChange : std::uint32_t {
  identity,
  shear_x,
  shear_y,
  translate_x,
  translate_y,
  rotate,
  brightness,
  saturation,
  contrast,
  sharpness,
  posterise,
  solarise,
  autocontrast,
  equalise
};
inline constexpr std::uint64_t kRandAugmentChanges = 14;
inline constexpr std::int64_t kRandAugmentMagnitudes = 31;

/// `magnitude`: 0 … 30. `negative`: the other direction, of changes that have two. None: nothing is changed.
/// What comes from outside of the view is zero; pixels are the nearest ones.
std::optional<Step> rand_augment_step(RandAugmentChange change, std::int64_t magnitude, bool negative,
                                      Sides view);

}  // namespace cohort::augment
