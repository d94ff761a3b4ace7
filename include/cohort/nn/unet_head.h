#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cohort/nn/dense_head.h"
#include "cohort/nn/norm_scope.h"

namespace cohort::nn {

class UnetStep;

/// Channels of a U-Net's decoder and of what it reads.
struct UnetShape {
  std::vector<std::int64_t> skips;  ///< of what is joined, coarse to fine: maps but the last, stem, image
  std::int64_t inputs = 0;          ///< of the encoder's last map
  std::int64_t bridge = 0;          ///< behind the bridge
  std::vector<std::int64_t> steps;  ///< behind each step up, as many as skips
  std::int64_t outputs = 0;
  NormScope batch_norm = NormScope::group;
};

/// As LoVT's evaluation has it (arXiv 2112.02889, published code): the bridge keeps the channels C of the
/// last map, steps have C / 2, C / 4 … of them (ResNet-50: 2048; 1024, 512, 256, 128, 64), one at least.
/// Precondition: an encoder with a stem.
UnetShape unet_shape(const EncoderTraits& encoder, std::int64_t image_channels, std::int64_t outputs);

/// Decoder of a U-Net (Ronneberger et al., arXiv 1505.04597) on a residual network: two convolutions on the
/// last map (bridge), then steps, each of which doubles the size (transposed convolution 2 x 2), joins [what
/// comes up, skip], and convolves twice; each convolution is 3 x 3 with a bias, BatchNorm and ReLU behind it;
/// at last a convolution of 1 x 1, "classifier". Skips are the maps before, the stem and the image itself, so
/// that values come out at the size of the image, which the coarsest stride has to divide. Batch
/// normalisation as everywhere (batch_norm.h): over the images of a group.
class UnetHead final : public DenseHead {
 public:
  explicit UnetHead(const UnetShape& shape);

  at::Tensor forward(const DenseInput& input, const Conditions& conditions, const BlockRunner& run) override;
  [[nodiscard]] unsigned wanted() const noexcept override { return Encoder::maps | Encoder::stem; }
  [[nodiscard]] std::vector<std::shared_ptr<torch::nn::Module>> blocks() const override;

 private:
  std::vector<std::shared_ptr<UnetStep>> steps_;  ///< the bridge first
  std::shared_ptr<torch::nn::Module> classifier_;
};

}  // namespace cohort::nn
