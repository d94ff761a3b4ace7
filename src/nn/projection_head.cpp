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
    auto options = torch::nn::LinearOptions(layer == 0 ? shape.width : shape.hidden,
                                            is_last ? shape.outputs : shape.hidden);
    linears_.push_back(register_module(name(), torch::nn::Linear(options.bias(shape.bias)).ptr()));
    if (is_last) break;
    if (shape.batch_norm != HeadNorm::none) {
      norms_.push_back(
          register_module(name(), std::make_shared<BatchNorm>(shape.hidden, scope_of(shape.batch_norm))));
    }
    ++place;  // the ReLU
  }
}

at::Tensor ProjectionHead::forward(const at::Tensor& features, const Conditions& conditions) {
  const ImageGroups groups(conditions);
  at::Tensor x = groups.gathered(features);
  for (std::size_t i = 0; i < linears_.size(); ++i) {
    x = linear(*linears_[i]->as<torch::nn::Linear>(), x);
    if (i + 1 == linears_.size()) break;
    if (!norms_.empty()) x = norms_[i]->forward(x, conditions, groups.sizes());
    x = at::relu(x);
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
  output.rows = projector_->forward(output.features, conditions);
  if (predictor_ != nullptr) {
    // By value: a runner may call the body again in the backward pass.
    output.rows = run(kPredictor, output.rows, [head = predictor_, conditions](const at::Tensor& rows) {
      return head->forward(rows, conditions);
    });
  }
  output.rows = output.rows.to(at::promote_types(output.rows.scalar_type(), at::kFloat));
  return output;
}

}  // namespace cohort::nn
