#include "cohort/nn/dense_predictor.h"

#include <utility>

#include <ATen/ATen.h>

namespace cohort::nn {

DensePredictor::DensePredictor(std::shared_ptr<Encoder> encoder, std::shared_ptr<DenseHead> head)
    : backbone_(add_tower("backbone", std::move(encoder))), head_(register_module("head", std::move(head))) {
  for (const auto& block : head_->blocks()) add_unit({block});
}

at::Tensor DensePredictor::forward(const at::Tensor& images, const Conditions& conditions) {
  const auto run_block = [this](std::size_t block, const Tensors& inputs, const BlockBody& body) {
    return run(block, inputs, [body](const Tensors& values) { return Tensors{body(values)}; }).front();
  };
  const DenseInput input{images, backbone_->encode(images, conditions, head_->wanted())};
  const at::Tensor values = head_->forward(input, conditions, run_block);
  return resized(values.to(at::promote_types(values.scalar_type(), at::kFloat)), images.size(2),
                 images.size(3));
}

}  // namespace cohort::nn
