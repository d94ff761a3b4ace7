#include "augment/view_geometry.h"

#include <utility>

namespace cohort::augment {

using data::Affine;
using data::frame_of;
using data::Point;
using data::Polygon;
using data::shared_part;

data::ViewGeometry geometry_of_image(std::int64_t height, std::int64_t width) {
  return {{}, frame_of(static_cast<double>(height), static_cast<double>(width))};
}

data::ViewGeometry after_step(const data::ViewGeometry& before, const Affine& step, std::int64_t height,
                              std::int64_t width) {
  const Affine forward = step.inverse();
  Polygon seen;
  for (const Point corner : before.seen) seen.push_back(forward(corner));
  const Polygon frame = frame_of(static_cast<double>(height), static_cast<double>(width));
  return {before.to_image * step, shared_part(std::move(seen), frame)};
}

Affine resized_box(const Box& box, std::int64_t height, std::int64_t width) {
  return {box.width / static_cast<double>(width),   0,      box.left, 0,
          box.height / static_cast<double>(height), box.top};
}

Affine mirrored_view(std::int64_t width) {
  return {-1, 0, static_cast<double>(width), 0, 1, 0};
}

Affine upside_down_view(std::int64_t height) {
  return {1, 0, 0, 0, -1, static_cast<double>(height)};
}

Affine quarter_turned_view(std::int32_t turns, std::int64_t height, std::int64_t width) {
  const auto h = static_cast<double>(height), w = static_cast<double>(width);
  switch (turns % 4) {
    case 1:
      return {0, -1, w, 1, 0, 0};
    case 2:
      return {-1, 0, w, 0, -1, h};
    case 3:
      return {0, 1, 0, -1, 0, h};
    default:
      return {};
  }
}

Affine rotated_view(double cosine, double sine, std::int64_t height, std::int64_t width) {
  const double x = static_cast<double>(width) / 2, y = static_cast<double>(height) / 2;
  return {cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y};
}

data::ViewGeometry geometry_of(const WholeRecipe& recipe, Sides image) {
  const std::int64_t height = image.height, width = image.width;
  data::ViewGeometry geometry = geometry_of_image(height, width);
  const auto then = [&](const Affine& step) { geometry = after_step(geometry, step, height, width); };
  if (recipe.mirrored) then(mirrored_view(width));
  if (recipe.upside_down) then(upside_down_view(height));
  if (recipe.quarter_turns != 0) then(quarter_turned_view(recipe.quarter_turns, height, width));
  if (recipe.crops) then(resized_box(recipe.box, height, width));
  return geometry;
}

data::ViewGeometry geometry_of(const ColourRecipe& recipe, Sides image, Sides size) {
  const std::int64_t height = size.height, width = size.width;
  const data::ViewGeometry crop = after_step(geometry_of_image(image.height, image.width),
                                             resized_box(recipe.box, height, width), height, width);
  return recipe.mirrored ? after_step(crop, mirrored_view(width), height, width) : crop;
}

data::ViewGeometry geometry_of(const CellRecipe& recipe, Sides image, Sides size) {
  const std::int64_t height = size.height, width = size.width;
  const Affine shift{1, 0, static_cast<double>(recipe.left), 0, 1, static_cast<double>(recipe.top)};
  const data::ViewGeometry crop =
      after_step(geometry_of_image(image.height, image.width), shift, height, width);
  switch (recipe.turn) {
    case Turn::mirror:
      return after_step(crop, mirrored_view(width), height, width);
    case Turn::upside_down:
      return after_step(crop, upside_down_view(height), height, width);
    case Turn::rotate:
      return after_step(crop, rotated_view(recipe.cosine, recipe.sine, height, width), height, width);
    case Turn::none:
      break;
  }
  return crop;
}

}  // namespace cohort::augment
