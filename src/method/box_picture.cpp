#include "method/box_picture.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>

#include "method/mask_picture.h"

namespace cohort::method {
namespace {

constexpr double kWhite = 2;

/// Pixels from `first` up to `last`, inside of `count`.
at::Tensor cut(const at::Tensor& values, std::int64_t dim, std::int64_t first, std::int64_t last) {
  const std::int64_t count = values.size(dim), from = std::clamp<std::int64_t>(first, 0, count);
  return values.slice(dim, from, std::clamp<std::int64_t>(last, from, count));
}

/// A pixel of the image, also for places far outside.
std::int64_t pixel_at(float place, std::int64_t count) {
  const auto most = static_cast<float>(count);
  return static_cast<std::int64_t>(std::clamp(std::round(place), -most, 2 * most));
}

/// `picture` [3, h, w], `colour` [3]: the inside of the outline is left as it was.
void draw_outline(const at::Tensor& picture, const float* box, const at::Tensor& colour) {
  const std::int64_t height = picture.size(1), width = picture.size(2);
  const std::int64_t thick = std::max<std::int64_t>(1, std::min(height, width) / 96);
  const std::int64_t x0 = pixel_at(box[0], width), y0 = pixel_at(box[1], height),
                     x1 = std::max(pixel_at(box[2], width), x0 + 1),
                     y1 = std::max(pixel_at(box[3], height), y0 + 1);
  const auto fill = [&](std::int64_t top, std::int64_t bottom, std::int64_t left, std::int64_t right) {
    cut(cut(picture, 1, top, bottom), 2, left, right).copy_(colour.view({3, 1, 1}));
  };
  fill(y0, std::min(y0 + thick, y1), x0, x1);
  fill(std::max(y1 - thick, y0), y1, x0, x1);
  fill(y0, y1, x0, std::min(x0 + thick, x1));
  fill(y0, y1, std::max(x1 - thick, x0), x1);
}

}  // namespace

at::Tensor box_picture(const at::Tensor& images, const data::Column& boxes) {
  at::Tensor pictures =
      images.to(at::kCPU, at::kFloat).mean(1, /*keepdim=*/true).expand({-1, 3, -1, -1}).contiguous();
  const at::Tensor values = boxes.values.to(at::kCPU, at::kFloat).contiguous(),
                   offsets = boxes.offsets.to(at::kCPU).contiguous(), colours = class_colours();
  const auto* offset = offsets.const_data_ptr<std::int64_t>();
  for (std::int64_t image = 0; image < pictures.size(0); ++image) {
    for (std::int64_t row = offset[image]; row < offset[image + 1]; ++row) {
      const float* box = values.const_data_ptr<float>() + 5 * row;
      const auto of_class = static_cast<std::int64_t>(box[4]);
      draw_outline(pictures[image], box,
                   of_class < 0 ? at::full({3}, kWhite, at::kFloat) : colours[of_class % colours.size(0)]);
    }
  }
  return pictures;
}

data::Column surer_than(double confidence, const FoundBoxes& found) {
  const at::Tensor is_sure = found.confidence.gt(confidence);
  const at::Tensor count = at::cat({at::zeros({1}, at::kLong), is_sure.to(at::kLong).cumsum(0)});
  return {found.boxes.index_select(0, is_sure.nonzero().view(-1)), count.index_select(0, found.offsets)};
}

}  // namespace cohort::method
