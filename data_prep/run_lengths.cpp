#include "data_prep/run_lengths.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

#include <fmt/format.h>

#include "cohort/core/error.h"

namespace cohort::data_prep {
namespace {

[[noreturn]] void refuse_region(const std::string& what, const std::string& where) {
  throw DataError({"the segmentation cannot be drawn: " + what, where,
                   "correct the annotation, or leave the image out with --on-error skip"});
}

/// In fifths of a pixel.
struct OutlinePoint {
  std::int64_t x, y;
};

constexpr std::int64_t kFifths = 5;

/// Rounded towards zero behind + 0.5, as C does it there.
std::int64_t rounded(double value) {
  return static_cast<std::int64_t>(value + 0.5);
}

/// Visits the points of a line with both ends: one for each step along its longer axis.
template <class Visit>
void walk_line(OutlinePoint from, OutlinePoint to, const Visit& visit) {
  const std::int64_t across = std::abs(to.x - from.x), down = std::abs(to.y - from.y);
  const bool is_flat = across >= down, turns = is_flat ? from.x > to.x : from.y > to.y;
  const OutlinePoint low = turns ? to : from, high = turns ? from : to;
  const std::int64_t steps = std::max(across, down), rise = is_flat ? high.y - low.y : high.x - low.x;
  const double slope = steps == 0 ? 0.0 : static_cast<double>(rise) / static_cast<double>(steps);
  for (std::int64_t step = 0; step <= steps; ++step) {
    const std::int64_t along = turns ? steps - step : step;
    const double aside = slope * static_cast<double>(along);
    if (is_flat)
      visit(OutlinePoint{low.x + along, rounded(static_cast<double>(low.y) + aside)});
    else
      visit(OutlinePoint{rounded(static_cast<double>(low.x) + aside), low.y + along});
  }
}

std::vector<OutlinePoint> corners_of(std::span<const double> corners, std::int64_t height, std::int64_t width,
                                     const std::string& where) {
  if (corners.size() < 6 || corners.size() % 2 != 0)
    refuse_region(
        fmt::format("a polygon has {} numbers: x and y of three corners or more are wanted", corners.size()),
        where);
  const auto is_near = [](double value, std::int64_t size) {
    const auto most = static_cast<double>(size);
    return value >= -most && value <= 2 * most;
  };
  std::vector<OutlinePoint> points;
  for (std::size_t i = 0; i < corners.size(); i += 2) {
    const double x = corners[i], y = corners[i + 1];
    if (!is_near(x, width) || !is_near(y, height))
      refuse_region(fmt::format("a polygon has the corner {}, {}, the image {} x {} pixels (height x width)",
                                x, y, height, width),
                    where);
    points.push_back({rounded(kFifths * x), rounded(kFifths * y)});
  }
  points.push_back(points.front());
  return points;
}

/// The number of the pixel at which a column changes between inside and outside, where the outline steps over
/// its middle.
void add_crossing(OutlinePoint from, OutlinePoint to, std::int64_t height, std::int64_t width,
                  std::vector<std::int64_t>& crossings) {
  constexpr std::int64_t kMiddle = kFifths / 2;
  const std::int64_t x = (to.x < from.x ? to.x : to.x - 1) - kMiddle, y = std::min(from.y, to.y) - kMiddle;
  if (from.x == to.x || x % kFifths != 0 || x < 0 || x / kFifths >= width) return;
  const std::int64_t row = y <= 0 ? 0 : std::min((y + kFifths - 1) / kFifths, height);
  crossings.push_back(x / kFifths * height + row);
}

}  // namespace

RunLengths parse_run_lengths(std::string_view text, std::int64_t pixels, const std::string& where) {
  constexpr int kFirst = '0', kBits = 5, kMostGroups = 7;
  RunLengths runs;
  for (std::size_t at = 0; at < text.size();) {
    std::int64_t value = 0;
    int groups = 0, group = 0;
    do {
      group = at < text.size() && groups < kMostGroups ? text[at] - kFirst : -1;
      if (group < 0 || group >= 64)
        refuse_region(fmt::format("the text of a region is damaged at character {}", at + 1), where);
      value |= static_cast<std::int64_t>(group & 0x1f) << (kBits * groups++);
      ++at;
    } while ((group & 0x20) != 0);
    if ((group & 0x10) != 0) value -= std::int64_t{1} << (kBits * groups);
    runs.push_back(value + (runs.size() > 2 ? runs[runs.size() - 2] : 0));
  }
  return checked_run_lengths(std::move(runs), pixels, where);
}

RunLengths checked_run_lengths(RunLengths runs, std::int64_t pixels, const std::string& where) {
  std::int64_t rest = pixels;
  for (const std::int64_t run : runs) {
    if (run < 0 || run > rest)
      refuse_region(fmt::format("the runs of a region do not make {} pixels", pixels), where);
    rest -= run;
  }
  if (rest != 0) refuse_region(fmt::format("the runs of a region do not make {} pixels", pixels), where);
  return runs;
}

RunLengths runs_of_polygon(std::span<const double> corners, std::int64_t height, std::int64_t width,
                           const std::string& where) {
  const std::vector<OutlinePoint> points = corners_of(corners, height, width, where);
  constexpr std::size_t kMost = std::size_t{1} << 24;
  std::vector<std::int64_t> crossings;
  OutlinePoint last = points.front();
  for (std::size_t i = 0; i + 1 < points.size(); ++i) {
    if (crossings.size() > kMost) refuse_region("the outline of a polygon is too long", where);
    walk_line(points[i], points[i + 1], [&](OutlinePoint point) {
      add_crossing(last, point, height, width, crossings);
      last = point;
    });
  }
  std::sort(crossings.begin(), crossings.end());
  crossings.push_back(height * width);
  RunLengths runs(crossings.size());
  std::adjacent_difference(crossings.begin(), crossings.end(), runs.begin());
  return runs;
}

void paint(const RunLengths& runs, std::int32_t value, Mask& mask) {
  std::int64_t at = 0;
  for (std::size_t i = 0; i < runs.size(); at += runs[i++]) {
    if (i % 2 == 0) continue;
    for (std::int64_t pixel = at; pixel < at + runs[i]; ++pixel)
      mask.values[static_cast<std::size_t>(pixel % mask.height * mask.width + pixel / mask.height)] = value;
  }
}

}  // namespace cohort::data_prep
