#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <variant>

#include "cohort/core/random.h"
#include "cohort/data/description.h"

#include "augment/planes.h"
#include "augment/recipe.h"
#include "augment/view_geometry.h"

// What operations drew for one view: nothing in here is random any more, but the numbers of a noise, whose
// key was drawn. All are plain bytes, so that they can stand in a recipe.
namespace cohort::augment {
namespace step {

/// `box` of the image, resized to the view.
struct Crop {
  Box box;
  Filter filter = Filter::bicubic;
};
/// The view's size from (top, left) of the image on; what lies outside of it is zero.
struct PaddedCrop {
  std::int64_t top = 0, left = 0;
};
struct Mirror {};
struct UpsideDown {};
struct QuarterTurns {
  std::int32_t count = 0;
};
/// rotated(): borders are mirrored.
struct Rotate {
  double cosine = 1, sine = 0;
};
/// warped(): what lies outside is zero.
struct Warp {
  data::Affine from;
  Filter filter = Filter::bilinear;
};
struct Jitter {
  float brightness = 1, contrast = 1, saturation = 1, hue = 0;
  std::array<std::uint8_t, kColourChanges> order{};  ///< ColourChange
};
/// One change of colour.h by `amount`.
struct Colour {
  enum class Change : std::int32_t {
    brightness,
    contrast,
    saturation,
    sharpness,
    posterise,
    solarise,
    autocontrast,
    equalise,
    gray
  };
  Change change = Change::gray;
  float amount = 0;
};
struct Stain {
  std::array<float, 3> scale{1, 1, 1}, shift{};
};
struct Blur {
  double radius = 0;
};
struct Defocus {
  std::int32_t radius = 0;
};
/// Become zero.
struct Holes {
  std::int32_t count = 0;
  std::array<Rectangle, CellRecipe::kMostHoles> part{};
};
/// Becomes the mean of the dataset.
struct Erase {
  Rectangle part;
};
/// In deviations of the dataset.
struct Noise {
  double deviation = 0;
  RandomKey key;
};

// Of volumes.
/// The view's size from this corner on; what lies outside repeats the border.
struct VolumeCrop {
  std::int64_t front = 0, top = 0, left = 0;
};
struct FlipDepth {};
/// About the middle of the view: turned about the axis of depth, after being enlarged along x, y and z.
struct AxialAffine {
  double cosine = 1, sine = 0;
  std::array<double, 3> scale{1, 1, 1};
};
/// Values beyond become these.
struct Window {
  float lowest = 0, highest = 0;
};
/// About the mean of the dataset.
struct ScaleIntensity {
  float factor = 1;
};
/// In deviations of the dataset.
struct ShiftIntensity {
  float deviations = 0;
};

}  // namespace step

using Step =
    std::variant<step::Crop, step::PaddedCrop, step::Mirror, step::UpsideDown, step::QuarterTurns,
                 step::Rotate, step::Warp, step::Jitter, step::Colour, step::Stain, step::Blur, step::Defocus,
                 step::Holes, step::Erase, step::Noise, step::VolumeCrop, step::FlipDepth, step::AxialAffine,
                 step::Window, step::ScaleIntensity, step::ShiftIntensity>;
static_assert(std::is_trivially_copyable_v<Step> && sizeof(Step) % 8 == 0);

/// A view of `size` that `steps` make of an image of `dataset`. Crops come first, and views without one have
/// the size of the image. Thread-safe.
Planes made_by(std::span<const Step> steps, const Planes& image, Sides size,
               const data::Description& dataset);

/// Where such a view is cut.
data::ViewGeometry geometry_of(std::span<const Step> steps, Sides image, Sides size);

}  // namespace cohort::augment
