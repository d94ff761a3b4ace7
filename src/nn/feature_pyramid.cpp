#include "cohort/nn/feature_pyramid.h"

#include <string>

#include <ATen/ATen.h>
#include <torch/nn/modules/conv.h>

#include "cohort/core/error.h"

#include "gelu.h"

namespace cohort::nn {
namespace {

std::shared_ptr<torch::nn::Module> doubling(std::int64_t in, std::int64_t out) {
  return torch::nn::ConvTranspose2d(torch::nn::ConvTranspose2dOptions(in, out, 2).stride(2)).ptr();
}

at::Tensor doubled(const std::shared_ptr<torch::nn::Module>& convolution, const at::Tensor& values) {
  return convolution->as<torch::nn::ConvTranspose2d>()->forward(values);
}

std::shared_ptr<torch::nn::Module> convolution_of(std::int64_t in, std::int64_t out, std::int64_t size) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, size).padding(size / 2)).ptr();
}

}  // namespace

FeaturePyramidHead::FeaturePyramidHead(const FeaturePyramidShape& shape) {
  COHORT_CHECK(!shape.inputs.empty(), "a pyramid of no maps");
  const std::vector<std::int64_t> inputs =
      shape.inputs.size() == 1 ? add_simple_pyramid(shape.inputs.front()) : shape.inputs;
  const auto lateral = register_module("lateral", std::make_shared<torch::nn::Module>()),
             output = register_module("output", std::make_shared<torch::nn::Module>());
  for (std::size_t level = 0; level < inputs.size(); ++level) {
    const std::string name = std::to_string(level);
    lateral_.push_back(lateral->register_module(name, convolution_of(inputs[level], shape.width, 1)));
    output_.push_back(output->register_module(name, convolution_of(shape.width, shape.width, 3)));
  }
  classifier_ = register_module("classifier", convolution_of(shape.width, shape.outputs, 1));
}

at::Tensor FeaturePyramidHead::forward(const DenseInput& input, const Conditions& /*conditions*/,
                                       const BlockRunner& /*run*/) {
  std::vector<at::Tensor> maps;
  for (const FeatureMap& map : input.features.maps) maps.push_back(map.values);
  if (!quadruple_.empty()) maps = simple_pyramid(maps.front());
  const auto height = [&](std::size_t level) { return maps[level].size(2); };
  const auto width = [&](std::size_t level) { return maps[level].size(3); };
  at::Tensor coarser, sum;
  for (std::size_t level = maps.size(); level-- > 0;) {
    at::Tensor x = convolve(lateral_[level], maps[level]);
    if (coarser.defined()) x = x + at::upsample_nearest2d(coarser, {height(level), width(level)});
    coarser = x;
    const at::Tensor finest = resized(at::relu(convolve(output_[level], x)), height(0), width(0));
    sum = sum.defined() ? sum + finest : finest;
  }
  return convolve(classifier_, sum);
}

/// Channels of its levels.
std::vector<std::int64_t> FeaturePyramidHead::add_simple_pyramid(std::int64_t width) {
  const std::int64_t half = (width + 1) / 2, quarter = (width + 3) / 4;
  const auto quadruple = register_module("quadruple", std::make_shared<torch::nn::Module>());
  quadruple_ = {quadruple->register_module("0", doubling(width, half)),
                quadruple->register_module("1", doubling(half, quarter))};
  double_ = {register_module("double", doubling(width, half))};
  return {quarter, half, width, width};
}

std::vector<at::Tensor> FeaturePyramidHead::simple_pyramid(const at::Tensor& map) const {
  return {doubled(quadruple_[1], exact_gelu(doubled(quadruple_[0], map))), doubled(double_.front(), map), map,
          at::max_pool2d(map, 2, 2, 0, 1, /*ceil_mode=*/true)};
}

}  // namespace cohort::nn
