#include "cohort/nn/unet_head.h"

#include <algorithm>
#include <string>

#include <ATen/ATen.h>
#include <torch/nn/modules/conv.h>

#include "cohort/core/error.h"
#include "cohort/nn/batch_norm.h"
#include "cohort/nn/image_groups.h"

namespace cohort::nn {

/// Convolution of 3 x 3, BatchNorm, ReLU.
class NormedConvolution final : public torch::nn::Module {
 public:
  NormedConvolution(std::int64_t in, std::int64_t out, NormScope scope)
      : convolution_(
            register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 3).padding(1)))),
        norm_(register_module("bn", std::make_shared<BatchNorm>(out, scope))) {}

  at::Tensor forward(const at::Tensor& x, const Conditions& conditions, std::span<const std::int64_t> sizes) {
    return at::relu(norm_->forward(convolution_(x), conditions, sizes));
  }

 private:
  torch::nn::Conv2d convolution_;
  std::shared_ptr<BatchNorm> norm_;
};

/// Two convolutions, before which a step up doubles the size and joins the skip.
class UnetStep final : public torch::nn::Module {
 public:
  /// The bridge.
  UnetStep(std::int64_t in, std::int64_t out, NormScope scope) { add_convolutions(in, out, scope); }
  UnetStep(std::int64_t in, std::int64_t skip, std::int64_t out, NormScope scope) {
    upsample_ = register_module(
        "upsample", torch::nn::ConvTranspose2d(torch::nn::ConvTranspose2dOptions(in, out, 2).stride(2)));
    add_convolutions(out + skip, out, scope);
  }

  /// `inputs`: what comes from below, and the skip.
  at::Tensor forward(const Tensors& inputs, const Conditions& conditions,
                     std::span<const std::int64_t> sizes) {
    at::Tensor x = inputs.front();
    if (inputs.size() == 2) x = at::cat({upsample_(x), inputs.back()}, 1);
    return second_->forward(first_->forward(x, conditions, sizes), conditions, sizes);
  }

 private:
  void add_convolutions(std::int64_t in, std::int64_t out, NormScope scope) {
    first_ = register_module("conv_block_1", std::make_shared<NormedConvolution>(in, out, scope));
    second_ = register_module("conv_block_2", std::make_shared<NormedConvolution>(out, out, scope));
  }

  torch::nn::ConvTranspose2d upsample_{nullptr};  // the bridge: null
  std::shared_ptr<NormedConvolution> first_, second_;
};

UnetShape unet_shape(const EncoderTraits& encoder, std::int64_t image_channels, std::int64_t outputs) {
  COHORT_CHECK(encoder.stem_width > 0 && !encoder.map_widths.empty(), "a {} without a stem", encoder.kind);
  UnetShape shape{.skips = {encoder.map_widths.rbegin() + 1, encoder.map_widths.rend()},
                  .inputs = encoder.map_widths.back(),
                  .bridge = encoder.map_widths.back(),
                  .steps = {},
                  .outputs = outputs};
  shape.skips.insert(shape.skips.end(), {encoder.stem_width, image_channels});
  for (std::size_t step = 0; step < shape.skips.size(); ++step)
    shape.steps.push_back(std::max<std::int64_t>(shape.bridge >> (step + 1), 1));
  return shape;
}

UnetHead::UnetHead(const UnetShape& shape) {
  COHORT_CHECK(shape.skips.size() == shape.steps.size(), "{} steps for {} skips", shape.steps.size(),
               shape.skips.size());
  const auto bridge = std::make_shared<UnetStep>(shape.inputs, shape.bridge, shape.batch_norm);
  steps_.push_back(register_module("bridge", bridge));
  const auto up = register_module("up_blocks", std::make_shared<torch::nn::Module>());
  std::int64_t in = shape.bridge;
  for (std::size_t i = 0; i < shape.steps.size(); ++i) {
    const auto step = std::make_shared<UnetStep>(in, shape.skips[i], shape.steps[i], shape.batch_norm);
    steps_.push_back(up->register_module(std::to_string(i), step));
    in = shape.steps[i];
  }
  const torch::nn::Conv2dOptions classifier(in, shape.outputs, 1);
  classifier_ = register_module("classifier", torch::nn::Conv2d(classifier).ptr());
}

at::Tensor UnetHead::forward(const DenseInput& input, const Conditions& conditions, const BlockRunner& run) {
  const ImageGroups groups(conditions);
  const auto run_step = [&](std::size_t number, const Tensors& inputs) {
    // By value: a runner may call the body again in the backward pass.
    return run(number, inputs,
               [step = steps_[number], conditions, sizes = groups.sizes()](const Tensors& of) {
                 return step->forward(of, conditions, sizes);
               });
  };
  const std::vector<FeatureMap>& maps = input.features.maps;
  Tensors skips{input.images, input.features.stem};  // fine to coarse
  for (std::size_t i = 0; i + 1 < maps.size(); ++i) skips.push_back(maps[i].values);
  at::Tensor x = run_step(0, {groups.gathered(maps.back().values)});
  for (std::size_t i = 1; i < steps_.size(); ++i)
    x = run_step(i, {x, groups.gathered(skips[skips.size() - i])});
  return groups.scattered(convolve(classifier_, x));
}

std::vector<std::shared_ptr<torch::nn::Module>> UnetHead::blocks() const {
  return {steps_.begin(), steps_.end()};
}

}  // namespace cohort::nn
