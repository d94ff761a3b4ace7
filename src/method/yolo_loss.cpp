#include "cohort/method/yolo_loss.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <ATen/ATen.h>

#include "cohort/core/error.h"
#include "cohort/method/boxes.h"

namespace cohort::method {
namespace {

constexpr std::int64_t kPlaces = 4, kConfidence = 4, kFirstClass = 5;
constexpr double kPlaceWeight = 2.5, kEmptyWeight = 0.5, kSimilar = 0.5;
constexpr Suppression kSuppression{.confidence = 0.2, .overlap = 0.4, .longer = 1.0};

double overlap_of_shapes(const Anchor& a, const Anchor& b, ShapeOverlap how) {
  const double longer = how == ShapeOverlap::plus_one ? 1 : 0;
  return overlap({0, 0, a.width, a.height}, {0, 0, b.width, b.height}, longer);
}

/// A box and its cell.
struct PlacedBox {
  std::int64_t row, column;
  double x, y;  // in the cell
  Anchor size;  // in cells
  float of_class;
};

/// Cells of an image, in pixels.
Anchor cell_of(const YoloGrid& grid) {
  return {static_cast<double>(grid.width) / static_cast<double>(grid.columns),
          static_cast<double>(grid.height) / static_cast<double>(grid.rows)};
}

PlacedBox placed(const float* box, const YoloGrid& grid) {
  const Anchor cell = cell_of(grid);
  const double x0 = box[0], y0 = box[1], x1 = box[2], y1 = box[3];
  const double x = (x0 + x1) / 2 / cell.width, y = (y0 + y1) / 2 / cell.height;
  const auto column = std::clamp<std::int64_t>(static_cast<std::int64_t>(x), 0, grid.columns - 1),
             row = std::clamp<std::int64_t>(static_cast<std::int64_t>(y), 0, grid.rows - 1);
  return {row,
          column,
          x - static_cast<double>(column),
          y - static_cast<double>(row),
          {(x1 - x0) / cell.width, (y1 - y0) / cell.height},
          box[4]};
}

/// The anchors of a scale in cells.
YoloAnchors anchors_in_cells(const YoloGrid& grid) {
  const Anchor cell = cell_of(grid);
  YoloAnchors anchors = grid.anchors;
  for (Anchor& anchor : anchors) anchor = {anchor.width / cell.width, anchor.height / cell.height};
  return anchors;
}

/// Collects targets box by box.
class TargetMaker {
 public:
  TargetMaker(std::int64_t images, const YoloGrid& grid)
      : grid_(grid),
        anchors_(anchors_in_cells(grid)),
        empty_(at::ones({images, kYoloAnchors, grid.rows, grid.columns}, at::kBool)) {}

  void add(std::int64_t image, const PlacedBox& box) {
    auto empty = empty_.accessor<bool, 4>();
    std::array<double, kYoloAnchors> overlaps{};
    for (std::size_t a = 0; a < overlaps.size(); ++a) {
      overlaps.at(a) = overlap_of_shapes(box.size, anchors_.at(a), grid_.overlap);
      if (overlaps.at(a) > kSimilar) empty[image][static_cast<std::int64_t>(a)][box.row][box.column] = false;
    }
    const auto best = std::max_element(overlaps.begin(), overlaps.end()) - overlaps.begin();
    if (grid_.classes > 0 && box.of_class < 0)
      empty[image][best][box.row][box.column] = false;
    else
      take({image, best, box.row, box.column}, box, anchors_.at(static_cast<std::size_t>(best)));
  }

  [[nodiscard]] YoloTargets made() const {
    const auto count = std::ssize(taken_);
    YoloTargets targets{at::empty({count, 4}, at::kLong), at::empty({count, kPlaces}, at::kFloat),
                        at::zeros({count, std::max<std::int64_t>(grid_.classes, 1)}, at::kFloat), empty_};
    auto cells = targets.cells.accessor<std::int64_t, 2>();
    auto places = targets.places.accessor<float, 2>(), classes = targets.classes.accessor<float, 2>();
    std::int64_t i = 0;
    for (const auto& [cell, taken] : taken_) {
      std::copy(cell.begin(), cell.end(), cells[i].data());
      std::copy(taken.place.begin(), taken.place.end(), places[i].data());
      for (const std::int64_t of_class : taken.classes) classes[i][of_class] = 1;
      ++i;
    }
    return targets;
  }

 private:
  using Cell = std::array<std::int64_t, 4>;
  struct Taken {
    std::array<float, kPlaces> place{};
    std::vector<std::int64_t> classes;
  };

  void take(const Cell& cell, const PlacedBox& box, const Anchor& anchor) {
    constexpr double kLeast = 1e-16;  // of a box without an extent, as published
    Taken& taken = taken_[cell];
    taken.place = {static_cast<float>(box.x), static_cast<float>(box.y),
                   static_cast<float>(std::log(box.size.width / anchor.width + kLeast)),
                   static_cast<float>(std::log(box.size.height / anchor.height + kLeast))};
    const auto of_class = grid_.classes == 0 ? 0 : static_cast<std::int64_t>(box.of_class);
    COHORT_CHECK(of_class == 0 || of_class < grid_.classes, "a box of class {} of {}", of_class,
                 grid_.classes);
    taken.classes.push_back(of_class);
  }

  const YoloGrid& grid_;
  YoloAnchors anchors_;
  at::Tensor empty_;
  std::map<Cell, Taken> taken_;
};

/// [B, A (5 + C), h, w] -> [B, A, h, w, 5 + C].
at::Tensor by_anchor(const at::Tensor& outputs) {
  return outputs
      .view({outputs.size(0), kYoloAnchors, outputs.size(1) / kYoloAnchors, outputs.size(2), outputs.size(3)})
      .permute({0, 1, 3, 4, 2});
}

/// [n, 5 + C]: the outputs of cells that have a box. Cells are unique, so that gradients have an order.
at::Tensor outputs_of_cells(const at::Tensor& by_place, const at::Tensor& cells) {
  const at::Tensor index = cells.to(by_place.device());
  const at::Tensor flat =
      ((index.select(1, 0) * by_place.size(1) + index.select(1, 1)) * by_place.size(2) + index.select(1, 2)) *
          by_place.size(3) +
      index.select(1, 3);
  return by_place.reshape({-1, by_place.size(4)}).index_select(0, flat);
}

at::Tensor logistic_sum(const at::Tensor& logits, const at::Tensor& truth) {
  return at::binary_cross_entropy_with_logits(logits, truth.to(logits.options()), {}, {}, at::Reduction::None)
      .sum();
}

/// 0 … count - 1, along dimension `dim` of [A, h, w].
at::Tensor steps_along(std::int64_t count, std::int64_t dim, const at::TensorOptions& options) {
  std::array<std::int64_t, 3> sizes{1, 1, 1};
  sizes.at(static_cast<std::size_t>(dim)) = count;
  return at::arange(count, options).view(sizes);
}

/// [A, 1, 1].
at::Tensor sides_of(const YoloAnchors& anchors, double Anchor::*side, const at::TensorOptions& options) {
  std::vector<double> sides;
  for (const Anchor& anchor : anchors) sides.push_back(anchor.*side);
  return at::tensor(sides, at::kDouble).to(options).view({-1, 1, 1});
}

/// [m, 5 + C] with middle and size as boxes [m, 5]; of one class its probability does not matter.
at::Tensor corners_and_class(const at::Tensor& decoded) {
  const at::Tensor middle = decoded.narrow(1, 0, 2), half = decoded.narrow(1, 2, 2) / 2;
  const at::Tensor of_class =
      decoded.narrow(1, kFirstClass, decoded.size(1) - kFirstClass).argmax(1, /*keepdim=*/true);
  return at::cat({middle - half, middle + half, of_class.to(decoded.scalar_type())}, 1);
}

}  // namespace

std::array<YoloAnchors, 3> yolo_anchors(std::int64_t height, std::int64_t width) {
  constexpr double kSide = 224;
  std::array<YoloAnchors, 3> scales{{{{{64.64, 48.6}, {84.24, 106.92}, {201.42, 176.04}}},
                                     {{{16.2, 32.94}, {33.48, 24.3}, {31.86, 64.26}}},
                                     {{{5.4, 7.02}, {8.64, 16.2}, {17.82, 12.42}}}}};
  for (YoloAnchors& anchors : scales) {
    for (Anchor& anchor : anchors) {
      anchor.width *= static_cast<double>(width) / kSide;
      anchor.height *= static_cast<double>(height) / kSide;
    }
  }
  return scales;
}

YoloTargets yolo_targets(const data::Column& boxes, const YoloGrid& grid) {
  const at::Tensor values = boxes.values.to(at::kCPU, at::kFloat).contiguous(),
                   offsets = boxes.offsets.to(at::kCPU).contiguous();
  const auto* box = values.const_data_ptr<float>();
  const auto* offset = offsets.const_data_ptr<std::int64_t>();
  TargetMaker maker(offsets.numel() - 1, grid);
  for (std::int64_t image = 0; image + 1 < offsets.numel(); ++image) {
    for (std::int64_t row = offset[image]; row < offset[image + 1]; ++row)
      maker.add(image, placed(box + 5 * row, grid));
  }
  return maker.made();
}

at::Tensor yolo_loss(const at::Tensor& outputs, const YoloTargets& targets) {
  const at::Tensor by_place = by_anchor(outputs), found = outputs_of_cells(by_place, targets.cells);
  const at::Tensor places = targets.places.to(found.options());
  const at::Tensor size_errors = found.narrow(1, 2, 2) - places.narrow(1, 2, 2);
  at::Tensor sum = kPlaceWeight *
                   (logistic_sum(found.narrow(1, 0, 2), places.narrow(1, 0, 2)) + size_errors.square().sum());
  const at::Tensor sure = found.select(1, kConfidence);
  sum = sum + logistic_sum(sure, at::ones_like(sure));
  const std::int64_t classes = targets.classes.size(1);
  if (classes > 1) {
    sum = sum +
          logistic_sum(found.narrow(1, kFirstClass, classes), targets.classes) / static_cast<double>(classes);
  }
  const at::Tensor nothing = at::softplus(by_place.select(4, kConfidence));  // BCE(confidence, 0)
  sum = sum + kEmptyWeight * (nothing * targets.empty.to(nothing.options())).sum();
  return sum / static_cast<double>(by_place.size(1) * by_place.size(2) * by_place.size(3));
}

at::Tensor yolo_confidence(const at::Tensor& outputs, const YoloTargets& targets) {
  return outputs_of_cells(by_anchor(outputs), targets.cells).select(1, kConfidence).sigmoid();
}

at::Tensor decode_yolo(const at::Tensor& outputs, const YoloGrid& grid) {
  const at::Tensor by_place = by_anchor(outputs);
  const at::TensorOptions options = by_place.options();
  const Anchor cell = cell_of(grid);
  const at::Tensor columns = steps_along(grid.columns, 2, options), rows = steps_along(grid.rows, 1, options);
  const auto value = [&](std::int64_t attribute) { return by_place.select(4, attribute); };
  const at::Tensor box =
      at::stack({(value(0).sigmoid() + columns) * cell.width, (value(1).sigmoid() + rows) * cell.height,
                 value(2).exp() * sides_of(grid.anchors, &Anchor::width, options),
                 value(3).exp() * sides_of(grid.anchors, &Anchor::height, options)},
                4);
  const at::Tensor sure = by_place.narrow(4, kConfidence, by_place.size(4) - kConfidence).sigmoid();
  return at::cat({box, sure}, 4).reshape({outputs.size(0), -1, by_place.size(4)});
}

FoundBoxes found_boxes(const at::Tensor& decoded) {
  const at::Tensor all = decoded.to(at::kCPU, at::kFloat);
  std::vector<at::Tensor> boxes, confidence;
  std::vector<std::int64_t> ends{0};
  for (std::int64_t image = 0; image < all.size(0); ++image) {
    const at::Tensor of_image = corners_and_class(all[image]), sure = all[image].select(1, kConfidence);
    const std::vector<std::int64_t> kept = suppress_boxes(of_image, sure, kSuppression);
    const at::Tensor rows = at::tensor(kept, at::kLong);
    boxes.push_back(of_image.index_select(0, rows));
    confidence.push_back(sure.index_select(0, rows));
    ends.push_back(ends.back() + std::ssize(kept));
  }
  return {at::cat(boxes), at::cat(confidence), at::tensor(ends, at::kLong)};
}

}  // namespace cohort::method
