#include "cohort/nn/projection_head.h"

#include <string>

#include <ATen/ATen.h>
#include <torch/nn/modules/linear.h>

#include "cohort/nn/image_groups.h"

#include "linear.h"

namespace cohort::nn {

ProjectionHead::ProjectionHead(const ProjectionHeadShape& shape) {
  std::size_t place = 0;
  const auto name = [&] { return std::to_string(place++); };
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    const bool is_last = layer + 1 == shape.layers;
    auto options = torch::nn::LinearOptions(layer == 0 ? shape.width : shape.hidden,
                                            is_last ? shape.outputs : shape.hidden);
    linears_.push_back(register_module(name(), torch::nn::Linear(options.bias(shape.bias)).ptr()));
    if (is_last) break;
    if (shape.batch_norm)
      norms_.push_back(register_module(name(), std::make_shared<BatchNorm>(shape.hidden, shape.scope)));
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

}  // namespace cohort::nn
