#include "eval/saliency.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/ATen.h>

namespace cohort::eval {
namespace {

bool is_constant(const at::Tensor& map) {
  return map.max().item<double>() <= map.min().item<double>();
}

/// Its place among the names of the field's classes; nothing: it is none of them.
std::optional<std::int64_t> class_of(const data::Field& field, const std::string& name) {
  const auto found = std::find(field.names.begin(), field.names.end(), name);
  if (found == field.names.end()) return std::nullopt;
  return found - field.names.begin();
}

at::Tensor region_of_mask(const data::Field& field, const at::Tensor& mask,
                          std::optional<std::int64_t> wanted) {
  const at::Tensor classes = mask.to(at::kLong);
  if (wanted) return classes.eq(*wanted);
  const std::int64_t unknown = field.type == data::ValueType::u8 ? 255 : -1;
  return classes.ne(0).logical_and(classes.ne(unknown));
}

/// `boxes` [n, 5]. A pixel lies in a box where its centre does.
at::Tensor region_of_boxes(const at::Tensor& boxes, std::int64_t height, std::int64_t width,
                           std::optional<std::int64_t> wanted) {
  at::Tensor region = at::zeros({height, width}, at::kBool);
  const at::Tensor x = at::arange(width, at::kFloat) + 0.5, y = at::arange(height, at::kFloat) + 0.5;
  for (std::int64_t i = 0; i < boxes.size(0); ++i) {
    const at::Tensor box = boxes[i];
    if (wanted && box[4].item<float>() != static_cast<float>(*wanted)) continue;
    const at::Tensor across = x.ge(box[0]).logical_and(x.lt(box[2])),
                     down = y.ge(box[1]).logical_and(y.lt(box[3]));
    region.logical_or_(down.unsqueeze(1).logical_and(across));
  }
  return region;
}

}  // namespace

at::Tensor as_large_as(const at::Tensor& map, std::int64_t height, std::int64_t width) {
  return at::upsample_bilinear2d(map.view({1, 1, map.size(0), map.size(1)}), {height, width},
                                 /*align_corners=*/false)
      .view({height, width});
}

double average_drop(double before, double after) {
  return before > 0 ? std::max(0.0, before - after) / before : 0.0;
}

double coherency(const at::Tensor& map, const at::Tensor& of_masked) {
  if (is_constant(map) || is_constant(of_masked)) return 0.0;
  const at::Tensor a = map.to(at::kDouble) - map.to(at::kDouble).mean(),
                   b = of_masked.to(at::kDouble) - of_masked.to(at::kDouble).mean();
  const double spread = std::sqrt(a.square().sum().item<double>() * b.square().sum().item<double>());
  return (1.0 + std::clamp((a * b).sum().item<double>() / spread, -1.0, 1.0)) / 2.0;
}

double complexity(const at::Tensor& map) {
  return map.to(at::kDouble).mean().item<double>();
}

double adcc(double drop, double coherency, double complexity) {
  if (coherency <= 0 || complexity >= 1 || drop >= 1) return 0.0;
  return 3.0 / (1.0 / coherency + 1.0 / (1.0 - complexity) + 1.0 / (1.0 - drop));
}

PixelOrder::PixelOrder(const at::Tensor& saliency) {
  const at::Tensor order = saliency.flatten().argsort(/*stable=*/true, 0, /*descending=*/true);
  place_ = at::empty_like(order).index_copy_(0, order, at::arange(order.numel())).view(saliency.sizes());
}

at::Tensor PixelOrder::replaced(const at::Tensor& from, const at::Tensor& other, std::int64_t pixels) const {
  return at::where(place_.lt(pixels), other, from);
}

bool PixelOrder::begins_in(const at::Tensor& region) const {
  return region.logical_and(place_.eq(0)).any().item<bool>();
}

at::Tensor blurred(const at::Tensor& image) {
  constexpr std::int64_t kReach = 5;
  constexpr double kDeviation = 5.0;
  const at::Tensor place = at::arange(-kReach, kReach + 1, at::kDouble) / kDeviation;
  at::Tensor line = (place.square() * -0.5).exp();
  line = (line / line.sum()).to(at::kFloat);
  const at::Tensor padded = at::replication_pad2d(image.unsqueeze(0), {kReach, kReach, kReach, kReach}),
                   channels = padded.transpose(0, 1);  // [C, 1, H, W]
  return at::conv2d(at::conv2d(channels, line.view({1, 1, 1, -1})), line.view({1, 1, -1, 1})).squeeze(1);
}

double area_under(std::span<const double> curve) {
  const double ends = (curve.front() + curve.back()) / 2;
  return (std::accumulate(curve.begin(), curve.end(), 0.0) - ends) / static_cast<double>(curve.size() - 1);
}

std::optional<at::Tensor> region_of(const data::Field& field, const data::Column& column, std::int64_t image,
                                    std::int64_t height, std::int64_t width, const std::string& name) {
  const std::optional<std::int64_t> wanted = class_of(field, name);
  at::Tensor region;
  if (field.kind == data::FieldKind::mask) {
    region = region_of_mask(field, column.values[image], wanted);
  } else {
    const auto* offsets = column.offsets.const_data_ptr<std::int64_t>() + image;
    region =
        region_of_boxes(column.values.narrow(0, offsets[0], offsets[1] - offsets[0]), height, width, wanted);
  }
  return region.any().item<bool>() ? std::optional(region) : std::nullopt;
}

double region_iou(const at::Tensor& saliency, const at::Tensor& region) {
  const at::Tensor shown = saliency.ge(0.5);
  const auto both = shown.logical_and(region).sum().item<std::int64_t>(),
             either = shown.logical_or(region).sum().item<std::int64_t>();
  return static_cast<double>(both) / static_cast<double>(either);
}

}  // namespace cohort::eval
