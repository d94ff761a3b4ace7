#include "cohort/nn/projection_head.h"

#include <array>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <torch/nn/modules/linear.h>

#include "cohort/nn/image_groups.h"

#include "linear.h"

namespace cohort::nn {

namespace {

NormScope scope_of(HeadNorm norm) {
  return norm == HeadNorm::all ? NormScope::all : NormScope::group;
}

}  // namespace

std::span<const config::EnumName<HeadNorm>> enum_names(HeadNorm) {
  static constexpr std::array<config::EnumName<HeadNorm>, 3> names{
      {{HeadNorm::none, "none"}, {HeadNorm::group, "group"}, {HeadNorm::all, "all"}}};
  return names;
}

ProjectionHead::ProjectionHead(const ProjectionHeadShape& shape) {
  std::size_t place = 0;
  const auto name = [&] { return std::to_string(place++); };
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    const bool is_last = layer + 1 == shape.layers;
    const std::int64_t width = is_last ? shape.outputs : shape.hidden;
    const bool has_bias = shape.bias == HeadBias::all || (shape.bias == HeadBias::outputs && is_last);
    torch::nn::LinearOptions options(layer == 0 ? shape.width : shape.hidden, width);
    linears_.push_back(register_module(name(), torch::nn::Linear(options.bias(has_bias)).ptr()));
    if (shape.batch_norm != HeadNorm::none && (!is_last || shape.normalises_outputs)) {
      const NormScope scope = scope_of(shape.batch_norm);
      norms_.push_back(
          register_module(name(), std::make_shared<BatchNorm>(width, scope, /*affine=*/!is_last)));
    }
    ++place;  // the ReLU
  }
}

at::Tensor ProjectionHead::forward(const at::Tensor& features, const Conditions& conditions) {
  const ImageGroups groups(conditions);
  at::Tensor x = groups.gathered(features);
  for (std::size_t i = 0; i < linears_.size(); ++i) {
    x = linear(*linears_[i]->as<torch::nn::Linear>(), x);
    if (i < norms_.size()) x = norms_[i]->forward(x, conditions, groups.sizes());
    if (i + 1 < linears_.size()) x = at::relu(x);
  }
  return groups.scattered(x);
}

ProjectedEncoder::ProjectedEncoder(std::shared_ptr<Encoder> encoder, ProjectionHeadShape projector,
                                   std::optional<ProjectionHeadShape> predictor)
    : backbone_(add_tower("backbone", std::move(encoder))) {
  projector.width = backbone_->traits().width;
  projector_ = register_module("projector", std::make_shared<ProjectionHead>(projector));
  if (!predictor) return;
  predictor->width = projector.outputs;
  predictor_ = register_module("predictor", std::make_shared<ProjectionHead>(*predictor));
  add_unit({predictor_});
}

ProjectedEncoder::Output ProjectedEncoder::forward(const at::Tensor& images, const Conditions& conditions) {
  constexpr std::size_t kPredictor = 0;
  Output output;
  output.features = backbone_->encode(images, conditions, Encoder::pooled).pooled;
  const auto in_float = [](const at::Tensor& rows) {
    return rows.to(at::promote_types(rows.scalar_type(), at::kFloat));
  };
  at::Tensor rows = projector_->forward(output.features, conditions);
  output.projection = in_float(rows);
  if (predictor_ != nullptr) {
    // By value: a runner may call the body again in the backward pass.
    rows = run(kPredictor, rows, [head = predictor_, conditions](const at::Tensor& projection) {
      return head->forward(projection, conditions);
    });
  }
  output.rows = in_float(rows);
  return output;
}

}  // namespace cohort::nn
