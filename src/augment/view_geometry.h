#pragma once
#include <cstdint>

#include "cohort/data/view_geometry.h"

#include "augment/recipe.h"
#include "data/polygon.h"

// How each geometric operation moves places, and what a view shows after some of them.
namespace cohort::augment {

/// Of the whole image.
data::ViewGeometry geometry_of_image(std::int64_t height, std::int64_t width);

/// After one more operation, which makes a view of height x width whose place p is `step`(p) of the view
/// before; what it reads beyond that view's borders is not the image.
data::ViewGeometry after_step(const data::ViewGeometry& before, const data::Affine& step, std::int64_t height,
                              std::int64_t width);

// Place in the view -> place before the operation.
/// `box`, resized to height x width.
data::Affine resized_box(const Box& box, std::int64_t height, std::int64_t width);
data::Affine mirrored_view(std::int64_t width);
data::Affine upside_down_view(std::int64_t height);
/// As at::rot90(): counter-clockwise. `width`, `height`: before.
data::Affine quarter_turned_view(std::int32_t turns, std::int64_t height, std::int64_t width);
/// As rotated().
data::Affine rotated_view(double cosine, double sine, std::int64_t height, std::int64_t width);

/// Sides of an image, of a volume, or of a view.
struct Sides {
  std::int64_t height = 0, width = 0, depth = 1;
};

// Of views of `size` that these recipes make of an image.
data::ViewGeometry geometry_of(const WholeRecipe& recipe, Sides image);
data::ViewGeometry geometry_of(const ColourRecipe& recipe, Sides image, Sides size);
data::ViewGeometry geometry_of(const CellRecipe& recipe, Sides image, Sides size);

}  // namespace cohort::augment
