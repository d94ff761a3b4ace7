#include "data/polygon.h"

#include <cmath>
#include <cstddef>

namespace cohort::data {
namespace {

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

}  // namespace cohort::data
