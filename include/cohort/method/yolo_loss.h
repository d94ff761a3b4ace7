#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/data/batch.h"

// YOLOv3 (Redmon and Farhadi, arXiv 1804.02767) as LoVT's evaluation has it (arXiv 2112.02889, published
// code): what its head learns, and which boxes its outputs are. Outputs of a scale are [B, A (5 + C), h, w]:
// of each of A anchors x, y, width, height, confidence, and C classes.
namespace cohort::method {

/// Width and height of a box, in pixels.
struct Anchor {
  double width = 0, height = 0;
};
constexpr std::int64_t kYoloAnchors = 3;  ///< of each place
/// Of one scale.
using YoloAnchors = std::array<Anchor, kYoloAnchors>;

/// The published ones, of images of 224 x 224 pixels, in proportion: coarse to fine.
std::array<YoloAnchors, 3> yolo_anchors(std::int64_t height, std::int64_t width);

/// Between shapes of boxes and anchors, in cells.
enum class ShapeOverlap {
  plus_one,  ///< of sides that are a cell longer, as published
  exact,     ///< as they are
};

/// One scale of images that are all of one size.
struct YoloGrid {
  YoloAnchors anchors{};
  std::int64_t height = 0, width = 0;  ///< of the images, pixels
  std::int64_t rows = 0, columns = 0;  ///< of cells
  std::int64_t classes = 0;            ///< C; 0: boxes have none, and C is 1
  ShapeOverlap overlap = ShapeOverlap::plus_one;
};

/// What one scale learns of B images. On the CPU.
struct YoloTargets {
  at::Tensor cells;    ///< [n, 4] i64: image, anchor, row, column of what has a box, ascending
  at::Tensor places;   ///< [n, 4] f32: x and y in the cell, log of width and height over those of the anchor
  at::Tensor classes;  ///< [n, C] f32, 0 or 1
  at::Tensor empty;    ///< [B, A, rows, columns] bool: what learns that it has no box
};

/// A box belongs to the cell that its middle is in, on the right and lower border to the last one, and there
/// to the anchor of the most similar shape. Anchors of that cell whose overlap is above 0.5 do not learn that
/// they have no box; one that has a box less similar than that learns both, as published. Of boxes with the
/// same cell and anchor the last one has the place, and all have their classes. Where the class of a box is
/// not known (-1, of boxes that have classes) its anchor learns nothing of it. `boxes`: field of kind boxes,
/// in pixels.
YoloTargets yolo_targets(const data::Column& boxes, const YoloGrid& grid);

/// Scalar f32 (of f64: f64), the sum over images of
///   [2.5 (BCE(x) + BCE(y) + (w - w*)² + (h - h*)²) + BCE(confidence, 1)] of cells that have a box
///   + 0.5 BCE(confidence, 0) of empty ones + BCE(classes) / C of cells that have a box, with C > 1,
/// over the cells of an image (A h w): divided by the images of a step it is the published mean.
at::Tensor yolo_loss(const at::Tensor& outputs, const YoloTargets& targets);

/// [n] in the order of YoloTargets::cells: how sure the outputs are of the boxes that are there.
at::Tensor yolo_confidence(const at::Tensor& outputs, const YoloTargets& targets);

/// [B, A h w, 5 + C] f32: x and y of the middle, width, height (pixels), confidence, probabilities of
/// classes; by anchor, row, column.
at::Tensor decode_yolo(const at::Tensor& outputs, const YoloGrid& grid);

/// Boxes of several images, as eval's task "detection" has them.
struct FoundBoxes {
  at::Tensor boxes;       ///< [n, 5] f32: corners in pixels, class
  at::Tensor confidence;  ///< [n] f32
  at::Tensor offsets;     ///< [B + 1] i64
};
/// `decoded` [B, m, 5 + C] of all scales: what is left of boxes with a confidence of 0.2 at least by
/// suppress_boxes() at an overlap of 0.4, of sides one pixel longer. On the CPU.
FoundBoxes found_boxes(const at::Tensor& decoded);

}  // namespace cohort::method
