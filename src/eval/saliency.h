#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <ATen/core/Tensor.h>

#include "cohort/data/batch.h"
#include "cohort/data/field.h"

namespace cohort::eval {

// How well a map tells what a model looks at. Maps [h, w] of values 0 … 1, images [C, H, W] normalised, all
// on the CPU. ADCC and its parts: Poppi et al., "Revisiting the evaluation of class activation mapping for
// explainability", arXiv 2104.10252. Insertion and deletion: Petsiuk et al., "RISE", arXiv 1806.07421. The
// pointing game: Zhang et al., "Top-down neural attention by excitation backprop", arXiv 1608.00507.

/// The map as large as the image, bilinear, [height, width].
at::Tensor as_large_as(const at::Tensor& map, std::int64_t height, std::int64_t width);

/// max(0, before - after) / before, of the probability of the class when the image is multiplied by its map;
/// 0 of a class that had none.
double average_drop(double before, double after);
/// (1 + Pearson's correlation) / 2 of the maps of the image and of the image multiplied by its map; 0 where
/// one is constant.
double coherency(const at::Tensor& map, const at::Tensor& of_masked);
/// The mean of the map.
double complexity(const at::Tensor& map);
/// 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop)), their harmonic mean; 0 where one of these is
/// 0.
double adcc(double drop, double coherency, double complexity);

/// Pixels of an image by falling saliency; of equal ones the first of the image comes first.
class PixelOrder {
 public:
  /// `saliency` [H, W].
  explicit PixelOrder(const at::Tensor& saliency);
  [[nodiscard]] std::int64_t size() const { return place_.numel(); }
  /// `from` [C, H, W], with the first `pixels` of them from `other`.
  [[nodiscard]] at::Tensor replaced(const at::Tensor& from, const at::Tensor& other,
                                    std::int64_t pixels) const;
  /// Whether `region` [H, W] bool has the first one.
  [[nodiscard]] bool begins_in(const at::Tensor& region) const;

 private:
  at::Tensor place_;  // [H, W] i64
};

/// The image behind a Gaussian of 11 x 11 pixels and deviation 5, as RISE has it; borders go on as they are.
at::Tensor blurred(const at::Tensor& image);

/// Area under a curve over 0 … 1, its points evenly spread, by the trapezoidal rule.
double area_under(std::span<const double> curve);

/// The pixels [height, width] bool that a field says belong to class `name`, where it has a class of this
/// name; else those of all its boxes, or all that its mask has not 0. `column`: of the field in a batch whose
/// views are whole images. Nothing where there is no such pixel.
std::optional<at::Tensor> region_of(const data::Field& field, const data::Column& column, std::int64_t image,
                                    std::int64_t height, std::int64_t width, const std::string& name);

/// Intersection over union of `region` and the pixels whose saliency is at least a half.
double region_iou(const at::Tensor& saliency, const at::Tensor& region);

}  // namespace cohort::eval
