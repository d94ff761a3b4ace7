#include "augment/view_geometry.h"

#include <cmath>
#include <utility>

namespace cohort::augment {
namespace {

using data::Affine;
using data::Point;

/// Twice the area left of the line from `a` to `b` that it spans with `p`: its sign tells the side.
double side_of_line(Point a, Point b, Point p) {
  return (b.x - a.x) * (p.y - a.y) - (b.y - a.y) * (p.x - a.x);
}

double signed_area(const Polygon& polygon) {
  double twice = 0.0;
  for (std::size_t i = 0; i < polygon.size(); ++i) {
    const Point a = polygon[i], b = polygon[(i + 1) % polygon.size()];
    twice += a.x * b.y - a.y * b.x;
  }
  return twice / 2.0;
}

/// What of `polygon` lies on the side of the line from `a` to `b` that `sign` says.
Polygon on_side(const Polygon& polygon, Point a, Point b, double sign) {
  Polygon kept;
  for (std::size_t i = 0; i < polygon.size(); ++i) {
    const Point from = polygon[i], to = polygon[(i + 1) % polygon.size()];
    const double of_from = sign * side_of_line(a, b, from), of_to = sign * side_of_line(a, b, to);
    if (of_from >= 0.0) kept.push_back(from);
    if ((of_from >= 0.0) == (of_to >= 0.0)) continue;
    const double part = of_from / (of_from - of_to);
    kept.push_back({from.x + part * (to.x - from.x), from.y + part * (to.y - from.y)});
  }
  return kept;
}

}  // namespace

Polygon shared_part(Polygon polygon, const Polygon& other) {
  const double sign = signed_area(other) < 0.0 ? -1.0 : 1.0;
  for (std::size_t i = 0; i < other.size() && !polygon.empty(); ++i)
    polygon = on_side(polygon, other[i], other[(i + 1) % other.size()], sign);
  return other.empty() ? Polygon() : polygon;
}

double area_of(const Polygon& polygon) {
  return std::abs(signed_area(polygon));
}

Polygon frame_of(double height, double width) {
  return {{0.0, 0.0}, {width, 0.0}, {width, height}, {0.0, height}};
}

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
  const auto [height, width] = image;
  data::ViewGeometry geometry = geometry_of_image(height, width);
  const auto then = [&](const Affine& step) { geometry = after_step(geometry, step, height, width); };
  if (recipe.mirrored) then(mirrored_view(width));
  if (recipe.upside_down) then(upside_down_view(height));
  if (recipe.quarter_turns != 0) then(quarter_turned_view(recipe.quarter_turns, height, width));
  if (recipe.crops) then(resized_box(recipe.box, height, width));
  return geometry;
}

data::ViewGeometry geometry_of(const ColourRecipe& recipe, Sides image, Sides size) {
  const auto [height, width] = size;
  const data::ViewGeometry crop = after_step(geometry_of_image(image.height, image.width),
                                             resized_box(recipe.box, height, width), height, width);
  return recipe.mirrored ? after_step(crop, mirrored_view(width), height, width) : crop;
}

data::ViewGeometry geometry_of(const CellRecipe& recipe, Sides image, Sides size) {
  const auto [height, width] = size;
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
