#include "plot.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace cohort::report {
namespace {

constexpr double kPlotWidth = 360.0, kPlotHeight = 330.0;
constexpr double kPlotLeft = 52.0, kPlotRight = kPlotWidth - 14.0, kPlotTop = 30.0,
                 kPlotBottom = kPlotHeight - 42.0;

/// From the first to the last mark of an axis.
struct Reach {
  std::vector<double> marks;
  [[nodiscard]] double part(double value) const {
    return (value - marks.front()) / (marks.back() - marks.front());
  }
};

struct Places {
  Reach x, y;
  [[nodiscard]] double across(double value) const {
    return kPlotLeft + x.part(value) * (kPlotRight - kPlotLeft);
  }
  [[nodiscard]] double up(double value) const {
    return kPlotBottom - y.part(value) * (kPlotBottom - kPlotTop);
  }
};

/// Lowest and highest value.
struct Ends {
  double low, high;
  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  [[nodiscard]] Reach reach() const {
    constexpr double kLargest = 1e300;  // the difference of two values stays finite
    return {nice_ticks(std::max(low, -kLargest), std::min(high, kLargest), 5)};
  }
};

/// `coordinate(point)` of all points, and `ends`.
template <class Coordinate>
Ends ends_of(std::span<const Curve> curves, const Coordinate& coordinate, Ends ends) {
  for (const Curve& curve : curves)
    for (const auto& point : curve.points) ends.include(coordinate(point));
  return ends;
}

constexpr Ends kZero{0.0, 0.0},
    kNowhere{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};

Places places_of(const Plot& plot, std::span<const Curve> curves) {
  if (plot.is_square) return {{{0, 0.2, 0.4, 0.6, 0.8, 1.0}}, {{0, 0.2, 0.4, 0.6, 0.8, 1.0}}};
  const Ends x = ends_of(
                 curves, [](const auto&point) { return point.first; }, plot.is_scatter ? kNowhere : kZero),
             y = ends_of(
                 curves, [](const auto&point) { return point.second; },
                 plot.is_scatter && plot.has_diagonal ? kNowhere : kZero);
  if (!plot.is_scatter || !plot.has_diagonal) return {x.reach(), y.reach()};
  const Reach both = Ends{std::min(x.low, y.low), std::max(x.high, y.high)}.reach();
  return {both, both};
}

std::string grid_svg(const Places& places) {
  std::string svg;
  for (const double mark : places.y.marks) {
    svg += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>",
                       kPlotLeft, kPlotRight, places.up(mark));
    svg += fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{:.4g}</text>\n",
                       kPlotLeft - 6, places.up(mark) + 4, mark);
  }
  for (const double mark : places.x.marks)
    svg +=
        fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:.4g}</text>\n",
                    places.across(mark), kPlotBottom + 16, mark);
  return svg;
}

std::string titles_svg(const Plot& plot) {
  return fmt::format(
      "<text class=\"title\" x=\"0\" y=\"15\">{0}</text><text class=\"tick\" x=\"{1:.1f}\" y=\"{2:.1f}\" "
      "text-anchor=\"middle\">{3}</text><text class=\"tick\" x=\"0\" y=\"0\" text-anchor=\"middle\" "
      "transform=\"translate(12 {4:.1f}) rotate(-90)\">{5}</text>\n",
      escaped(plot.title), (kPlotLeft + kPlotRight) / 2, kPlotHeight - 6, escaped(plot.x),
      (kPlotTop + kPlotBottom) / 2, escaped(plot.y));
}

/// Points that fall on the one before are left out.
std::string line_svg(const Curve& curve, const Places& places) {
  std::string points, last;
  for (const auto& [x, y] : curve.points) {
    const std::string place = fmt::format("{:.1f},{:.1f} ", places.across(x), places.up(y));
    if (place != last) points += place;
    last = place;
  }
  return fmt::format("<polyline class=\"curve c{}\" points=\"{}\"><title>{}</title></polyline>\n",
                     curve.colour % 8, points, escaped(curve.name));
}

std::string marks_svg(const Curve& curve, const Places& places) {
  constexpr std::size_t kMostMarked = 30;
  std::string svg;
  if (curve.points.size() > kMostMarked) return svg;
  for (const auto& [x, y] : curve.points)
    svg += fmt::format(
        "<circle class=\"dot c{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\"><title>{}: {:.4g}, {:.4g}</title>"
        "</circle>\n",
        curve.colour % 8, places.across(x), places.up(y), escaped(curve.name), x, y);
  return svg;
}

/// Dots of one line.
std::string dots_svg(const Curve& curve, const Places& places) {
  std::string path;
  for (const auto& [x, y] : curve.points)
    path += fmt::format("M{:.1f} {:.1f}h0", places.across(x), places.up(y));
  return fmt::format("<path class=\"points c{}\" d=\"{}\"><title>{}</title></path>\n", curve.colour % 8, path,
                     escaped(curve.name));
}

/// As broad as the points stand apart, side by side where there are several curves.
std::string bars_svg(std::span<const Curve> curves, const Places& places) {
  std::size_t most = 1;
  for (const Curve& curve : curves) most = std::max(most, curve.points.size());
  const double broad =
      0.8 * (kPlotRight - kPlotLeft) / static_cast<double>(most) / static_cast<double>(curves.size());
  std::string svg;
  for (std::size_t i = 0; i < curves.size(); ++i) {
    const double shift = (static_cast<double>(i) - static_cast<double>(curves.size()) / 2) * broad;
    for (const auto& [x, y] : curves[i].points)
      svg += fmt::format(
          "<rect class=\"bar c{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"><title>{}: "
          "{:.4g}, {:.4g}</title></rect>\n",
          curves[i].colour % 8, places.across(x) + shift, places.up(std::max(y, 0.0)), broad,
          std::abs(places.up(y) - places.up(0)), escaped(curves[i].name), x, y);
  }
  return svg;
}

std::string diagonal_svg() {
  return fmt::format("<path class=\"majority\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\"/>\n", kPlotLeft,
                     kPlotBottom, kPlotRight, kPlotTop);
}

}  // namespace

std::string plot(const Plot& plot, std::span<const Curve> curves) {
  const Places places = places_of(plot, curves);
  std::string svg =
      fmt::format("<svg class=\"plot\" viewBox=\"0 0 {} {}\" role=\"img\">\n", kPlotWidth, kPlotHeight);
  svg += titles_svg(plot) + grid_svg(places);
  if (plot.has_diagonal) svg += diagonal_svg();
  if (plot.is_histogram) return svg + bars_svg(curves, places) + "</svg>\n";
  for (const Curve& curve : curves)
    svg += plot.is_scatter ? dots_svg(curve, places) : line_svg(curve, places) + marks_svg(curve, places);
  return svg + "</svg>\n";
}

}  // namespace cohort::report
