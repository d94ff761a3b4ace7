#include "cohort/nn/yolo_head.h"

#include <span>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <torch/nn/modules/conv.h>

#include "cohort/core/error.h"
#include "cohort/nn/batch_norm.h"
#include "cohort/nn/dense_head.h"
#include "cohort/nn/image_groups.h"

namespace cohort::nn {

/// Convolution without a bias, BatchNorm, LeakyReLU.
class LeakyConvolution final : public torch::nn::Module {
 public:
  LeakyConvolution(std::int64_t in, std::int64_t out, std::int64_t size, NormScope scope)
      : convolution_(register_module(
            "conv",
            torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, size).padding(size / 2).bias(false)).ptr())),
        norm_(register_module("bn", std::make_shared<BatchNorm>(out, scope))) {}

  at::Tensor forward(const at::Tensor& x, const Conditions& conditions, std::span<const std::int64_t> sizes) {
    return at::leaky_relu(norm_->forward(convolve(convolution_, x), conditions, sizes), kLeak);
  }

 private:
  static constexpr double kLeak = 0.1;
  std::shared_ptr<torch::nn::Module> convolution_;
  std::shared_ptr<BatchNorm> norm_;
};

/// The convolutions of one scale. The one that leads to it from the coarser scale has a name of its own in
/// the head.
class YoloScale final : public torch::nn::Module {
 public:
  /// `input`: channels of the map and of what the coarser scale hands on.
  YoloScale(std::int64_t input, const YoloShape::Scale& channels, std::int64_t outputs, NormScope scope)
      : hands_on_(channels.upwards > 0) {
    std::int64_t in = input;
    for (std::size_t i = 0; i < kLayers; ++i) {
      const std::int64_t out = i % 2 == 0 ? channels.narrow : channels.wide, size = i % 2 == 0 ? 1 : 3;
      layers_.push_back(
          register_module(std::to_string(i), std::make_shared<LeakyConvolution>(in, out, size, scope)));
      in = out;
    }
    const torch::nn::Conv2dOptions last(in, outputs, 1);
    output_ = register_module("conv_out", torch::nn::Conv2d(last).ptr());
  }

  /// Between the coarser scale and this one.
  void lead_from(std::shared_ptr<LeakyConvolution> bridge) { bridge_ = std::move(bridge); }
  [[nodiscard]] const std::shared_ptr<LeakyConvolution>& bridge() const noexcept { return bridge_; }

  /// `inputs`: the map, and what the coarser scale hands on. Outputs, and what is handed on, if anything is.
  Tensors forward(const Tensors& inputs, const Conditions& conditions, std::span<const std::int64_t> sizes) {
    at::Tensor x = inputs.front();
    if (inputs.size() == 2) {
      const at::Tensor coarser = bridge_->forward(inputs.back(), conditions, sizes);
      x = at::cat({at::upsample_nearest2d(coarser, {x.size(2), x.size(3)}), x}, 1);
    }
    at::Tensor handed_on;
    for (const auto& layer : layers_) {
      x = layer->forward(x, conditions, sizes);
      if (layer == layers_[kLayers - 2]) handed_on = x;
    }
    const at::Tensor outputs = convolve(output_, x);
    return hands_on_ ? Tensors{outputs, handed_on} : Tensors{outputs};
  }

 private:
  static constexpr std::size_t kLayers = 6;
  bool hands_on_;
  std::vector<std::shared_ptr<LeakyConvolution>> layers_;
  std::shared_ptr<torch::nn::Module> output_;
  std::shared_ptr<LeakyConvolution> bridge_;  // the coarsest scale: null
};

YoloShape yolo_shape(const EncoderTraits& encoder, std::int64_t width, std::int64_t outputs) {
  YoloShape shape{.inputs = encoder.map_widths, .outputs = outputs};
  for (YoloShape::Scale& scale : shape.scales) {
    scale = {.narrow = width, .wide = 2 * width, .upwards = width / 2};
    width /= 2;
  }
  shape.scales.back().upwards = 0;
  return shape;
}

YoloHead::YoloHead(const YoloShape& shape) {
  const std::size_t maps = shape.inputs.size();
  COHORT_CHECK(maps == 1 || maps >= YoloShape::kScales, "a detector of {} maps", maps);
  if (maps == 1) {
    const std::int64_t width = shape.inputs.front();
    double_ = register_module(
        "double",
        torch::nn::ConvTranspose2d(torch::nn::ConvTranspose2dOptions(width, width, 2).stride(2).bias(false))
            .ptr());
  }
  for (std::size_t i = 0; i < YoloShape::kScales; ++i) {
    const std::string name = "embedding" + std::to_string(i);
    const std::int64_t map = maps == 1 ? shape.inputs.front() : shape.inputs[maps - 1 - i];
    const std::int64_t coarser = i == 0 ? 0 : shape.scales[i - 1].upwards;
    const auto scale =
        std::make_shared<YoloScale>(map + coarser, shape.scales[i], shape.outputs, shape.batch_norm);
    scales_.push_back(register_module(name, scale));
    if (i == 0) continue;
    scale->lead_from(register_module(
        name + "_cbl",
        std::make_shared<LeakyConvolution>(shape.scales[i - 1].narrow, coarser, 1, shape.batch_norm)));
  }
}

/// Coarse to fine.
Tensors YoloHead::three_maps(const std::vector<FeatureMap>& maps) const {
  if (double_ == nullptr)
    return {maps.back().values, maps[maps.size() - 2].values, maps[maps.size() - 3].values};
  const at::Tensor& map = maps.front().values;
  return {at::max_pool2d(map, 2, 2, 0, 1, /*ceil_mode=*/true), map,
          double_->as<torch::nn::ConvTranspose2d>()->forward(map)};
}

Tensors YoloHead::forward(const std::vector<FeatureMap>& maps, const Conditions& conditions, const Run& run) {
  const ImageGroups groups(conditions);
  const Tensors of_scales = three_maps(maps);
  Tensors outputs;
  at::Tensor coarser;
  for (std::size_t i = 0; i < scales_.size(); ++i) {
    Tensors inputs{groups.gathered(of_scales[i])};
    if (i > 0) inputs.push_back(coarser);
    // By value: a runner may call the body again in the backward pass.
    const Tensors made =
        run(i, inputs, [scale = scales_[i], conditions, sizes = groups.sizes()](const Tensors& of) {
          return scale->forward(of, conditions, sizes);
        });
    outputs.push_back(groups.scattered(made.front()));
    coarser = made.back();
  }
  return outputs;
}

UnitModel::Units YoloHead::units() const {
  UnitModel::Units units;
  for (const auto& scale : scales_) {
    units.push_back({scale});
    if (scale->bridge() != nullptr) units.back().push_back(scale->bridge());
  }
  return units;
}

Detector::Detector(std::shared_ptr<Encoder> encoder, const YoloShape& shape)
    : backbone_(add_tower("backbone", std::move(encoder))),
      head_(register_module("head", std::make_shared<YoloHead>(shape))) {
  for (const auto& modules : head_->units()) add_unit(modules);
}

Tensors Detector::forward(const at::Tensor& images, const Conditions& conditions) {
  const auto run_unit = [this](std::size_t unit, const Tensors& inputs, const UnitRunner::Body& body) {
    return run(unit, inputs, body);
  };
  Tensors outputs =
      head_->forward(backbone_->encode(images, conditions, Encoder::maps).maps, conditions, run_unit);
  for (at::Tensor& of : outputs) of = of.to(at::promote_types(of.scalar_type(), at::kFloat));
  return outputs;
}

}  // namespace cohort::nn
