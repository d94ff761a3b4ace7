#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include "cohort/nn/conditions.h"
#include "cohort/nn/encoder.h"
#include "cohort/nn/unit.h"

namespace cohort::nn {

/// What a dense head reads.
struct DenseInput {
  at::Tensor images;         ///< [B, C, H, W]
  Encoder::Output features;  ///< what DenseHead::wanted() names, of an encoder that has it
};

/// Runs a block of a head, by its number in DenseHead::blocks(): UnitModel::run() of the model that the head
/// is a part of, or the body alone (run_plainly). What needs a gradient comes in through `inputs`.
using BlockBody = std::function<at::Tensor(const Tensors& inputs)>;
using BlockRunner =
    std::function<at::Tensor(std::size_t block, const Tensors& inputs, const BlockBody& body)>;
at::Tensor run_plainly(std::size_t block, const Tensors& inputs, const BlockBody& body);

/// Makes values for every place of an image out of an encoder's feature maps. Values of its parameters are
/// uninitialised: initialise() or discard_values() comes next.
class DenseHead : public torch::nn::Module {
 public:
  /// [B, outputs, h, w], of the head's own resolution; resized() brings it to that of the image. Collective
  /// where its batch normalisation is.
  virtual at::Tensor forward(const DenseInput& input, const Conditions& conditions,
                             const BlockRunner& run) = 0;
  /// Encoder::Wanted, of DenseInput::features.
  [[nodiscard]] virtual unsigned wanted() const noexcept { return Encoder::maps; }
  /// Its large modules, each of which may be sharded as a unit; the rest of it stands in the root unit.
  [[nodiscard]] virtual std::vector<std::shared_ptr<torch::nn::Module>> blocks() const { return {}; }
};

/// `outputs` values of each place of the encoder's last map, of `width` channels: a convolution of 1 x 1,
/// "classifier".
class LinearDenseHead final : public DenseHead {
 public:
  LinearDenseHead(std::int64_t width, std::int64_t outputs);
  at::Tensor forward(const DenseInput& input, const Conditions& conditions, const BlockRunner& run) override;

 private:
  std::shared_ptr<torch::nn::Module> classifier_;
};

/// `values` [B, C, h, w] at the size [height, width], bilinear, corners not aligned (half-pixel centres, as
/// PyTorch's interpolate with align_corners=False), in their own type. The gradient has the same bits every
/// time, on CUDA too.
at::Tensor resized(const at::Tensor& values, std::int64_t height, std::int64_t width);

/// [B, C, h, w] -> [B, out, h, w]: `convolution` is a torch::nn::Conv2d.
at::Tensor convolve(const std::shared_ptr<torch::nn::Module>& convolution, const at::Tensor& values);

}  // namespace cohort::nn
