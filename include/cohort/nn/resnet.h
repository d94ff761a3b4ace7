#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cohort/nn/batch_norm.h"
#include "cohort/nn/unit_model.h"

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
};

/// resnet18, resnet34, resnet50, resnet101 or resnet152, without a head. Nothing for another name.
std::optional<ResNetShape> resnet_shape(const std::string& name);
std::vector<std::string> resnet_names();

/// Residual network (He et al., arXiv 1512.03385), as torchvision and timm have it: the stride of a
/// bottleneck sits on its 3 x 3 convolution. Parameters and buffers have torchvision's names (conv1, bn1,
/// layer1.0.conv1, layer2.0.downsample.0, fc). Unit b is residual block b, counted over all stages; the rest
/// is the root unit. Not copyable. One thread at a time.
class ResNet final : public UnitModel {
 public:
  /// Random weights of `seed`.
  ResNet(const ResNetShape& shape, std::uint64_t seed);
  /// Without memory for the weights (discard_values).
  explicit ResNet(const ResNetShape& shape);

  struct Output {
    std::array<at::Tensor, 4> maps;  ///< [B, C_i, h / s, w / s] of each stage, strides s 4, 8, 16, 32
    at::Tensor pooled;               ///< [B, D], mean of the last map over places
    at::Tensor logits;               ///< [B, classes]; undefined without a head
  };
  /// `images` [B, C, h, w], normalised; images of one group (conditions.group; undefined: all) share the
  /// statistics of batch normalisation in training. Collective in NormScope::all. Errors: BatchNorm.
  Output forward(const at::Tensor& images, const Conditions& conditions);

  [[nodiscard]] const ResNetShape& shape() const noexcept { return shape_; }
  /// Of `pooled`.
  [[nodiscard]] std::int64_t width() const noexcept;

 private:
  [[nodiscard]] int own_layer_of(const std::string& parameter) const override;

  ResNetShape shape_;
  std::shared_ptr<torch::nn::Module> convolution_, head_;  ///< Conv2d, Linear; no head: null
  std::shared_ptr<BatchNorm> norm_;
  std::array<std::vector<std::shared_ptr<ResidualBlock>>, 4> stages_;
};

}  // namespace cohort::nn
