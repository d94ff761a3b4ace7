#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cohort/nn/batch_norm.h"
#include "cohort/nn/encoder.h"
#include "cohort/nn/model_config.h"

namespace cohort::nn {

class ResidualBlock;

/// Everything that decides the shapes of a residual network.
struct ResNetShape {
  std::int64_t channels = 3;                       ///< of the images
  bool bottleneck = true;                          ///< blocks of three convolutions instead of two
  std::array<std::int64_t, 4> depths{3, 4, 6, 3};  ///< blocks of each stage
  std::int64_t width = 64;                         ///< channels of the first stage's convolutions
  std::int64_t classes = 0;                        ///< 0: no head
  NormScope batch_norm = NormScope::group;
  Stem stem = Stem::imagenet;
};

/// resnet18, resnet34, resnet50, resnet101 or resnet152, without a head. Nothing for another name.
std::optional<ResNetShape> resnet_shape(const std::string& name);
std::vector<std::string> resnet_names();

/// Residual network (He et al., arXiv 1512.03385), as torchvision and timm have it: the stride of a
/// bottleneck sits on its 3 x 3 convolution. Parameters and buffers have torchvision's names (conv1, bn1,
/// layer1.0.conv1, layer2.0.downsample.0, fc). Unit b is residual block b, counted over all stages; the rest
/// is the root unit. Not copyable. One thread at a time.
class ResNet final : public Encoder {
 public:
  /// Random weights of `seed`.
  ResNet(const ResNetShape& shape, std::uint64_t seed);
  /// Without memory for the weights (discard_values).
  explicit ResNet(const ResNetShape& shape);

  /// `images` [B, C, h, w], normalised; images of one group (conditions.group; undefined: all) share the
  /// statistics of batch normalisation in training. Pooled features are the mean of the last map over places;
  /// maps those of the four stages, of strides 4, 8, 16 and 32 (small stem: 1, 2, 4, 8); the stem is what
  /// enters the first pooling, of stride 2 (small stem: none). No tokens, no contexts. Collective in
  /// NormScope::all. Errors: BatchNorm.
  Output encode(const at::Tensor& images, const Conditions& conditions, unsigned wanted) override;

  static constexpr std::size_t kStages = 4;
  /// What the stages behind the first `stages` ones, the mean and the head make of a map [B, C, h, w] that
  /// comes out of these: [B, classes]. For what looks into it: evaluation, and units run by the model itself.
  at::Tensor logits_from(std::size_t stages, at::Tensor map);

  [[nodiscard]] const ResNetShape& shape() const noexcept { return shape_; }
  [[nodiscard]] const EncoderTraits& traits() const noexcept override { return traits_; }
  [[nodiscard]] std::int64_t token_count(std::int64_t channels, std::int64_t height,
                                         std::int64_t width) const override;
  [[nodiscard]] std::string summary() const override;
  [[nodiscard]] std::string_view head() const noexcept override { return "fc."; }
  [[nodiscard]] std::span<const Dialect> dialects() const noexcept override;
  [[nodiscard]] std::optional<Adapted> adapt(const std::string& name, const at::Tensor& parameter,
                                             const at::Tensor& stored, NamesOfBoth names) const override;

 private:
  [[nodiscard]] int own_layer_of(const std::string& parameter) const override;

  at::Tensor stem_of(const at::Tensor& images, const Conditions& conditions,
                     std::span<const std::int64_t> group_sizes);

  ResNetShape shape_;
  EncoderTraits traits_;
  std::shared_ptr<torch::nn::Module> convolution_, head_;  ///< Conv2d, Linear; no head: null
  std::shared_ptr<BatchNorm> norm_;
  std::array<std::vector<std::shared_ptr<ResidualBlock>>, kStages> stages_;
};

}  // namespace cohort::nn
