#pragma once
#include <span>
#include <string>

#include "svg.h"

namespace cohort::report {

/// A chart of which both axes are numbers that neither is a step.
struct Plot {
  std::string title, x, y;
  bool is_square = false;     ///< from 0 to 1 both ways; else as far as the points go
  bool has_diagonal = false;  ///< a dashed line from corner to corner, below the curves
  bool is_histogram = false;  ///< points are bars from 0 up, centred at x
  bool is_scatter = false;    ///< points alone; with a diagonal both axes reach equally far
};

/// An <svg>; points are marked where a curve has few of them.
std::string plot(const Plot& plot, std::span<const Curve> curves);

}  // namespace cohort::report
