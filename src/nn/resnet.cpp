#include "cohort/nn/resnet.h"

#include <algorithm>
#include <numeric>
#include <string_view>
#include <utility>

#include <ATen/ATen.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include "cohort/config/field.h"
#include "cohort/core/error.h"
#include "cohort/nn/image_groups.h"
#include "cohort/nn/initialise.h"

#include "adapt.h"
#include "encoder_families.h"
#include "linear.h"

namespace cohort::nn {
namespace {

struct NamedShape {
  std::string_view name;
  bool bottleneck;
  std::array<std::int64_t, 4> depths;
};

// Table 1 of arXiv 1512.03385.
constexpr std::array kShapes{
    NamedShape{"resnet18", false, {2, 2, 2, 2}}, NamedShape{"resnet34", false, {3, 4, 6, 3}},
    NamedShape{"resnet50", true, {3, 4, 6, 3}}, NamedShape{"resnet101", true, {3, 4, 23, 3}},
    NamedShape{"resnet152", true, {3, 8, 36, 3}}};

torch::nn::Conv2d convolution(std::int64_t in, std::int64_t out, std::int64_t size, std::int64_t stride) {
  return torch::nn::Conv2d(
      torch::nn::Conv2dOptions(in, out, size).stride(stride).padding(size / 2).bias(false));
}

// Channels behind a stage, counted from 0.
std::int64_t features_of(const ResNetShape& shape, std::size_t stage) {
  return (shape.width << stage) * (shape.bottleneck ? 4 : 1);
}

EncoderTraits traits_of(const ResNetShape& shape) {
  EncoderTraits traits{.kind = "residual network",
                       .width = features_of(shape, shape.depths.size() - 1),
                       .classes = shape.classes};
  for (std::size_t stage = 0; stage < shape.depths.size(); ++stage)
    traits.map_widths.push_back(features_of(shape, stage));
  if (shape.stem == Stem::imagenet) traits.stem_width = shape.width;
  return traits;
}

}  // namespace

/// Two convolutions of 3 x 3, or one between two of 1 x 1; what comes in is added, through a convolution of
/// its own where the shape changes.
class ResidualBlock final : public torch::nn::Module {
 public:
  ResidualBlock(std::int64_t in, std::int64_t width, std::int64_t stride, const ResNetShape& shape) {
    const std::int64_t out = shape.bottleneck ? 4 * width : width;
    if (shape.bottleneck) {
      add(in, width, 1, 1, shape);
      add(width, width, 3, stride, shape);
      add(width, out, 1, 1, shape);
    } else {
      add(in, width, 3, stride, shape);
      add(width, out, 3, 1, shape);
    }
    if (stride == 1 && in == out) return;
    const auto shortcut = register_module("downsample", std::make_shared<torch::nn::Module>());
    shortcut_ = shortcut->register_module("0", convolution(in, out, 1, stride));
    shortcut_norm_ = shortcut->register_module("1", std::make_shared<BatchNorm>(out, shape.batch_norm));
  }

  at::Tensor forward(const at::Tensor& x, const Conditions& conditions, std::span<const std::int64_t> sizes) {
    at::Tensor y = x;
    for (std::size_t i = 0; i < convolutions_.size(); ++i) {
      if (i > 0) y = at::relu(y);
      y = norms_[i]->forward(convolutions_[i](y), conditions, sizes);
    }
    if (shortcut_norm_ == nullptr) return at::relu(y + x);
    return at::relu(y + shortcut_norm_->forward(shortcut_(x), conditions, sizes));
  }

 private:
  void add(std::int64_t in, std::int64_t out, std::int64_t size, std::int64_t stride,
           const ResNetShape& shape) {
    const std::string number = std::to_string(convolutions_.size() + 1);
    convolutions_.push_back(register_module("conv" + number, convolution(in, out, size, stride)));
    norms_.push_back(register_module("bn" + number, std::make_shared<BatchNorm>(out, shape.batch_norm)));
  }

  std::vector<torch::nn::Conv2d> convolutions_;
  std::vector<std::shared_ptr<BatchNorm>> norms_;
  torch::nn::Conv2d shortcut_{nullptr};
  std::shared_ptr<BatchNorm> shortcut_norm_;  // null: what comes in is added as it is
};

namespace {

std::shared_ptr<Encoder> make_resnet(const ModelConfig& config, const EncoderInput& input) {
  ResNetShape shape = resnet_shape(config.name).value();
  shape.channels = input.channels;
  shape.classes = input.classes;
  shape.batch_norm = config.resnet.batch_norm;
  shape.stem = config.resnet.stem;
  shape.width = config.resnet.width;
  return std::make_shared<ResNet>(shape);
}

}  // namespace

std::optional<ResNetShape> resnet_shape(const std::string& name) {
  const auto* const found = std::find_if(kShapes.begin(), kShapes.end(),
                                         [&](const NamedShape& shape) { return shape.name == name; });
  if (found == kShapes.end()) return std::nullopt;
  return ResNetShape{.bottleneck = found->bottleneck, .depths = found->depths};
}

std::vector<std::string> resnet_names() {
  std::vector<std::string> names;
  for (const NamedShape& shape : kShapes) names.emplace_back(shape.name);
  return names;
}

ResNet::ResNet(const ResNetShape& shape) : shape_(shape), traits_(traits_of(shape)) {
  const bool is_small = shape.stem == Stem::small;
  convolution_ = register_module(
      "conv1", convolution(shape.channels, shape.width, is_small ? 3 : 7, is_small ? 1 : 2).ptr());
  norm_ = register_module("bn1", std::make_shared<BatchNorm>(shape.width, shape.batch_norm));
  std::int64_t in = shape.width, width = shape.width;
  for (std::size_t s = 0; s < stages_.size(); ++s, width *= 2) {
    const auto stage =
        register_module("layer" + std::to_string(s + 1), std::make_shared<torch::nn::Module>());
    for (std::int64_t b = 0; b < shape.depths[s]; ++b) {
      const std::int64_t stride = s > 0 && b == 0 ? 2 : 1;
      const auto block = stage->register_module(std::to_string(b),
                                                std::make_shared<ResidualBlock>(in, width, stride, shape));
      add_unit(std::vector<std::shared_ptr<torch::nn::Module>>(1, block));
      discard_values(*block);
      stages_[s].push_back(block);
      in = shape.bottleneck ? 4 * width : width;
    }
  }
  if (shape.classes > 0) head_ = register_module("fc", torch::nn::Linear(in, shape.classes).ptr());
  discard_values(*this);
}

ResNet::ResNet(const ResNetShape& shape, std::uint64_t seed) : ResNet(shape) {
  initialise(*this, seed);
}

Encoder::Output ResNet::encode(const at::Tensor& images, const Conditions& conditions, unsigned wanted) {
  begin();
  const ImageGroups groups(conditions);
  at::Tensor x = stem_of(groups.gathered(images), conditions, groups.sizes());
  Output output;
  if (shape_.stem == Stem::imagenet) {
    if ((wanted & stem) != 0) output.stem = groups.scattered(x);
    x = at::max_pool2d(x, 3, 2, 1);
  }
  std::size_t unit = 0;
  std::int64_t stride = shape_.stem == Stem::small ? 1 : 4;
  for (const auto& stage : stages_) {
    for (const auto& block : stage) {
      // By value: a runner may call the body again in the backward pass.
      x = run(unit++, x, [block, conditions, sizes = groups.sizes()](const at::Tensor& of) {
        return block->forward(of, conditions, sizes);
      });
    }
    if ((wanted & maps) != 0) output.maps.push_back({groups.scattered(x), stride});
    stride *= 2;
  }
  if ((wanted & (pooled | logits)) == 0) return output;
  output.pooled = groups.scattered(x).mean({2, 3});
  if (head_ != nullptr && (wanted & logits) != 0)
    output.logits = linear(*head_->as<torch::nn::Linear>(), output.pooled);
  return output;
}

at::Tensor ResNet::logits_from(std::size_t stages, at::Tensor map) {
  COHORT_CHECK(head_ != nullptr && stages <= kStages, "logits behind stage {}", stages);
  for (std::size_t s = stages; s < kStages; ++s)
    for (const auto& block : stages_.at(s)) map = block->forward(map, {}, {});
  return linear(*head_->as<torch::nn::Linear>(), map.mean({2, 3}));
}

at::Tensor ResNet::stem_of(const at::Tensor& images, const Conditions& conditions,
                           std::span<const std::int64_t> group_sizes) {
  const at::Tensor x = convolution_->as<torch::nn::Conv2d>()->forward(images);
  return at::relu(norm_->forward(x, conditions, group_sizes));
}

std::int64_t ResNet::token_count(std::int64_t /*channels*/, std::int64_t /*height*/,
                                 std::int64_t /*width*/) const {
  return 0;
}

std::string ResNet::summary() const {
  return fmt::format("width {}, {} {}blocks, batch norm {}", traits_.width, unit_count(),
                     shape_.bottleneck ? "bottleneck " : "", config::enum_name(shape_.batch_norm));
}

std::span<const Dialect> ResNet::dialects() const noexcept {
  return without_batch_counts();
}

std::optional<Adapted> ResNet::adapt(const std::string& name, const at::Tensor& parameter,
                                     const at::Tensor& stored, NamesOfBoth names) const {
  return name == "conv1.weight" ? filters_of_channels(stored, parameter, names) : Adapted{stored};
}

int ResNet::own_layer_of(const std::string& parameter) const {
  constexpr std::string_view kStage = "layer";
  if (!parameter.starts_with(kStage)) return parameter.starts_with("fc") ? last_layer() : 0;
  const auto stage = static_cast<std::size_t>(parameter[kStage.size()] - '1');
  const std::int64_t before = std::accumulate(
      shape_.depths.begin(), shape_.depths.begin() + static_cast<std::ptrdiff_t>(stage), std::int64_t{0});
  return static_cast<int>(before + std::stol(parameter.substr(kStage.size() + 2))) + 1;
}

EncoderFamily resnet_family() {
  return {.kind = "residual networks", .section = "resnet", .names = resnet_names, .make = make_resnet};
}

}  // namespace cohort::nn
