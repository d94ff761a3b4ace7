#include "cohort/nn/mask_transformer.h"

#include <cmath>

#include <ATen/ATen.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "cohort/core/error.h"

#include "block.h"
#include "linear.h"

namespace cohort::nn {
namespace {

constexpr std::int64_t kMaskMlpRatio = 4;
constexpr double kMaskNormEpsilon = 1e-5;

at::Tensor of_unit_length(const at::Tensor& vectors) {
  return vectors / vectors.norm(2, -1, /*keepdim=*/true);
}

at::Tensor normalised(const std::shared_ptr<torch::nn::Module>& norm, const at::Tensor& values) {
  return norm->as<torch::nn::LayerNorm>()->forward(values);
}

}  // namespace

MaskTransformer::MaskTransformer(const MaskTransformerShape& shape) : width_(shape.width) {
  COHORT_CHECK(shape.outputs > 1 && shape.width % shape.heads == 0, "{} outputs, width {}, {} heads",
               shape.outputs, shape.width, shape.heads);
  embed_ = register_module("proj_dec", torch::nn::Linear(shape.inputs, shape.width).ptr());
  class_tokens_ = register_parameter("cls_emb", at::zeros({1, shape.outputs, shape.width}));
  const auto blocks = register_module("blocks", std::make_shared<torch::nn::Module>());
  const BlockShape block{.width = shape.width,
                         .heads = shape.heads,
                         .hidden = kMaskMlpRatio * shape.width,
                         .dropout = 0,
                         .drop_path = 0,
                         .layer_scale = 0,
                         .qkv_bias = false,
                         .epsilon = kMaskNormEpsilon};
  for (std::int64_t l = 0; l < shape.depth; ++l)
    blocks_.push_back(blocks->register_module(std::to_string(l), std::make_shared<Block>(block, l)));
  norm_ = register_module("decoder_norm", make_layer_norm(shape.width, kMaskNormEpsilon).ptr());
  of_places_ = register_parameter("proj_patch", at::zeros({shape.width, shape.width}));
  of_classes_ = register_parameter("proj_classes", at::zeros({shape.width, shape.width}));
  mask_norm_ = register_module("mask_norm", make_layer_norm(shape.outputs, kMaskNormEpsilon).ptr());
}

at::Tensor MaskTransformer::forward(const DenseInput& input, const Conditions& conditions,
                                    const BlockRunner& run) {
  const at::Tensor& map = input.features.maps.back().values;
  const std::int64_t images = map.size(0), rows = map.size(2), columns = map.size(3);
  const at::Tensor places =
      linear(*embed_->as<torch::nn::Linear>(), map.flatten(2).transpose(1, 2).contiguous());
  at::Tensor x = at::cat({places, class_tokens_.to(places.scalar_type()).expand({images, -1, -1})}, 1);
  for (std::size_t l = 0; l < blocks_.size(); ++l) {
    // By value: a runner may call the body again in the backward pass.
    x = run(l, {x}, [block = blocks_[l], conditions](const Tensors& values) {
      return block->forward(values.front(), conditions, values.front().size(1));
    });
  }
  x = normalised(norm_, x);
  const std::int64_t count = rows * columns;
  const at::Tensor of_places = of_unit_length(at::matmul(x.narrow(1, 0, count), of_places_)),
                   of_classes =
                       of_unit_length(at::matmul(x.narrow(1, count, x.size(1) - count), of_classes_));
  const at::Tensor masks = normalised(mask_norm_, at::matmul(of_places, of_classes.transpose(1, 2)));
  return masks.transpose(1, 2).reshape({images, -1, rows, columns});
}

std::vector<std::shared_ptr<torch::nn::Module>> MaskTransformer::blocks() const {
  return {blocks_.begin(), blocks_.end()};
}

std::optional<Draw> MaskTransformer::first_values_of(const std::string& name,
                                                     const torch::nn::Module& /*owner*/) const {
  if (name != "proj_patch" && name != "proj_classes") return std::nullopt;
  return draw::normal(1.0 / std::sqrt(static_cast<double>(width_)));
}

}  // namespace cohort::nn
