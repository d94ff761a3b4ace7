#pragma once
#include <vector>

#include "cohort/data/view_geometry.h"

namespace cohort::data {

/// Corners in order, convex.
using Polygon = std::vector<Point>;

/// What `polygon` and the convex `other` share; empty: nothing. (Sutherland and Hodgman, "Reentrant polygon
/// clipping", CACM 1974.)
Polygon shared_part(Polygon polygon, const Polygon& other);
double area_of(const Polygon& polygon);
Polygon frame_of(double height, double width);

}  // namespace cohort::data
