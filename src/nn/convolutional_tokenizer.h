#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <torch/nn/modules/conv.h>

#include "cohort/nn/initialise.h"
#include "cohort/nn/position.h"
#include "cohort/nn/weights.h"

namespace cohort::nn {

/// Convolutions without bias, each with a ReLU and a pooling of 3 x 3 behind it; or, with `pools` false, one
/// with bias alone, which cuts patches.
struct TokenizerShape {
  std::int64_t channels, width;  ///< of images, of tokens
  std::int64_t kernel, stride, padding;
  std::int64_t convolutions = 1;
  std::int64_t planes = 64;    ///< channels between convolutions
  std::int64_t last_pool = 2;  ///< stride of the last pooling; that of others is 2
  bool pools = true;
};

/// Pixels from token to token.
std::int64_t stride_of(const TokenizerShape& shape) noexcept;
/// Places of what images of this size become.
PatchGrid grid_of(const TokenizerShape& shape, std::int64_t height, std::int64_t width) noexcept;

/// The tokenizer of compact transformers (arXiv 2104.05704, section 3.3), as published: `conv_layers.<i>.0`.
/// First values are Kaiming's normal ones, deviation sqrt(2 / fan_in).
class ConvolutionalTokenizer final : public torch::nn::Module, public Initialised {
 public:
  explicit ConvolutionalTokenizer(const TokenizerShape& shape);
  /// [B, C, h, w] -> [B, D, rows, columns]
  at::Tensor forward(const at::Tensor& images);
  [[nodiscard]] std::optional<Draw> first_values_of(const std::string& name,
                                                    const torch::nn::Module& owner) const override;

 private:
  TokenizerShape shape_;
  std::vector<torch::nn::Conv2d> convolutions_;
};

/// A stored position table [1, prefix + n, D] for the grid `own`, its first `prefix` rows as they are. The
/// grid of the file is what the tokenizer makes of its images; where nobody says their size: `own` for as
/// many rows, else a square. Nothing when there is no such grid.
std::optional<Adapted> positions_of_grid(const at::Tensor& stored, std::int64_t prefix,
                                         const TokenizerShape& shape, PatchGrid own, NamesOfBoth names);

/// [B, D, rows, columns] -> [B, N, D], row by row
at::Tensor tokens_of(const at::Tensor& map);

}  // namespace cohort::nn
