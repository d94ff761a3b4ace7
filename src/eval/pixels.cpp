#include "eval/pixels.h"

#include <cmath>
#include <limits>

namespace cohort::eval {
namespace {

using PixelMap = std::vector<std::int32_t>;  // [H · W], classes of boundary pixels; kUnknownPixel: others

double part_of_whole(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? std::numeric_limits<double>::quiet_NaN()
                    : static_cast<double>(part) / static_cast<double>(whole);
}

/// Pixels of a grid of rows.
struct PixelGrid {
  std::int64_t height, width;
  [[nodiscard]] bool has(std::int64_t y, std::int64_t x) const noexcept {
    return y >= 0 && y < height && x >= 0 && x < width;
  }
  [[nodiscard]] std::size_t at(std::int64_t y, std::int64_t x) const noexcept {
    return static_cast<std::size_t>(y * width + x);
  }
};

struct PixelStep {
  std::int64_t y, x;
};

/// Steps of a length of at most `tolerance`, the zero step first.
std::vector<PixelStep> disk(double tolerance) {
  const auto most = static_cast<std::int64_t>(tolerance);
  std::vector<PixelStep> steps{{0, 0}};
  for (std::int64_t y = -most; y <= most; ++y) {
    for (std::int64_t x = -most; x <= most; ++x) {
      const bool is_near = static_cast<double>(y * y + x * x) <= tolerance * tolerance;
      if (is_near && (y != 0 || x != 0)) steps.push_back({y, x});
    }
  }
  return steps;
}

/// Pixels without a label have no class here.
PixelMap labelled_only(std::span<const std::int32_t> classes, std::span<const std::int32_t> label) {
  PixelMap map(classes.begin(), classes.end());
  for (std::size_t i = 0; i < map.size(); ++i) {
    if (label[i] == kUnknownPixel) map[i] = kUnknownPixel;
  }
  return map;
}

bool is_boundary(const PixelMap& classes, const PixelGrid& grid, std::int64_t y, std::int64_t x) {
  const std::int32_t own = classes[grid.at(y, x)];
  if (own == kUnknownPixel) return false;
  for (const PixelStep step : {PixelStep{-1, 0}, PixelStep{1, 0}, PixelStep{0, -1}, PixelStep{0, 1}}) {
    if (!grid.has(y + step.y, x + step.x)) continue;
    const std::int32_t other = classes[grid.at(y + step.y, x + step.x)];
    if (other != own && other != kUnknownPixel) return true;
  }
  return false;
}

PixelMap boundaries_of(const PixelMap& classes, const PixelGrid& grid) {
  PixelMap boundaries(classes.size(), kUnknownPixel);
  for (std::int64_t y = 0; y < grid.height; ++y) {
    for (std::int64_t x = 0; x < grid.width; ++x) {
      if (is_boundary(classes, grid, y, x)) boundaries[grid.at(y, x)] = classes[grid.at(y, x)];
    }
  }
  return boundaries;
}

/// Boundary pixels of a class, and those with one of the other map close by.
struct ClosePixels {
  std::int64_t all = 0, close = 0;
};

std::vector<ClosePixels> close_to(const PixelMap& own, const PixelMap& other, const PixelGrid& grid,
                                  std::span<const PixelStep> steps, std::int64_t classes) {
  std::vector<ClosePixels> counts(static_cast<std::size_t>(classes));
  for (std::int64_t y = 0; y < grid.height; ++y) {
    for (std::int64_t x = 0; x < grid.width; ++x) {
      const std::int32_t of = own[grid.at(y, x)];
      if (of == kUnknownPixel) continue;
      ClosePixels& count = counts[static_cast<std::size_t>(of)];
      ++count.all;
      for (const PixelStep step : steps) {
        if (!grid.has(y + step.y, x + step.x) || other[grid.at(y + step.y, x + step.x)] != of) continue;
        ++count.close;
        break;
      }
    }
  }
  return counts;
}

double f_of(const ClosePixels& answered, const ClosePixels& labelled) {
  if (answered.all == 0 && labelled.all == 0) return std::numeric_limits<double>::quiet_NaN();
  if (answered.close == 0 || labelled.close == 0) return 0;
  const double precision = part_of_whole(answered.close, answered.all),
               recall = part_of_whole(labelled.close, labelled.all);
  return 2 * precision * recall / (precision + recall);
}

}  // namespace

double ClassPixels::dice() const noexcept {
  return part_of_whole(2 * both, answered + labelled);
}

double ClassPixels::iou() const noexcept {
  return part_of_whole(both, answered + labelled - both);
}

double ClassPixels::precision() const noexcept {
  return part_of_whole(both, answered);
}

double ClassPixels::recall() const noexcept {
  return part_of_whole(both, labelled);
}

std::vector<ClassPixels> count_pixels(const PixelClasses& pixels, std::int64_t classes) {
  std::vector<ClassPixels> counts(static_cast<std::size_t>(classes));
  for (std::size_t i = 0; i < pixels.label.size(); ++i) {
    const std::int32_t label = pixels.label[i], answer = pixels.answer[i];
    if (label == kUnknownPixel) continue;
    ++counts[static_cast<std::size_t>(label)].labelled;
    ++counts[static_cast<std::size_t>(answer)].answered;
    if (label == answer) ++counts[static_cast<std::size_t>(label)].both;
  }
  return counts;
}

std::vector<double> boundary_f(const PixelClasses& pixels, std::int64_t width, std::int64_t classes,
                               double tolerance) {
  const PixelGrid grid{static_cast<std::int64_t>(pixels.label.size()) / width, width};
  const std::vector<PixelStep> steps = disk(tolerance);
  const PixelMap labelled = boundaries_of(labelled_only(pixels.label, pixels.label), grid),
                 answered = boundaries_of(labelled_only(pixels.answer, pixels.label), grid);
  const std::vector<ClosePixels> of_answer = close_to(answered, labelled, grid, steps, classes),
                                 of_label = close_to(labelled, answered, grid, steps, classes);
  std::vector<double> scores;
  for (std::size_t c = 0; c < of_answer.size(); ++c) scores.push_back(f_of(of_answer[c], of_label[c]));
  return scores;
}

}  // namespace cohort::eval
