#pragma once
#include <cstdint>
#include <memory>

#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>

#include "cohort/nn/vit.h"

namespace cohort::nn {

/// Images to tokens, row by row of patches. Family vit: one token for a patch of all channels, a Conv2d
/// called proj. Family channelvit (arXiv 2309.16108, section 3.1): one token for each channel of each patch,
/// channel by channel: one linear map for all channels (proj.weight [D, 1, 1, P, P], proj.bias) plus the row
/// of the channel in a table (channel_embed.weight [C, D]).
class PatchEmbedding final : public torch::nn::Module {
 public:
  explicit PatchEmbedding(const VitShape& shape);
  /// [B, c, h, w] -> [B, N, D] or [B, c N, D]. `channels` [c] i64: which of the model's channels the images
  /// have; undefined: all. Only family channelvit can do with some. `kept` [B, n] i64: the tokens that are
  /// made, [B, n, D]; undefined: all.
  at::Tensor forward(const at::Tensor& images, const at::Tensor& channels, const at::Tensor& kept = {});

 private:
  at::Tensor embed_channels(const at::Tensor& images, const at::Tensor& channels, const at::Tensor& kept);

  std::int64_t channels_;
  std::shared_ptr<torch::nn::Conv2dImpl> projection_;          ///< vit
  std::shared_ptr<torch::nn::Conv3dImpl> channel_projection_;  ///< channelvit
  std::shared_ptr<torch::nn::EmbeddingImpl> channel_embed_;    ///< channelvit
};

}  // namespace cohort::nn
