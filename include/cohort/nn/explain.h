#pragma once
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/nn/vit.h"

namespace cohort::nn {

/// A forward pass and what entered each block: [B, 1+R+K+N, D].
struct Trail {
  std::vector<at::Tensor> inputs;
  at::Tensor logits;  ///< [B, classes]; undefined without a head
};

/// VisionTransformer::encode(), with the inputs of its blocks kept.
Trail encode_with_trail(VisionTransformer& model, const at::Tensor& images, const Conditions& conditions);

/// Softmax weights of block `layer` for its input `tokens` [B, T, D]: [B, heads, T, T], rows add up to 1.
/// fp32. The parameters of the model are whole on this rank, here and below.
at::Tensor attention_weights(const VisionTransformer& model, std::int64_t layer, const at::Tensor& tokens);

/// What cls gets from each patch through all blocks, [B, N]: the product over blocks of (A + 1)/2, A the mean
/// over heads (attention rollout, Abnar and Zuidema, arXiv 2005.00928).
at::Tensor attention_rollout(const VisionTransformer& model, const Trail& trail);

/// Which patches a block is shown around the one that is asked for.
enum class PatchMask {
  delta,     ///< it alone
  gaussian,  ///< [1 2 1; 2 4 2; 1 2 1]/16 around it, cut at the border
};

/// Where the residual stream of the last block starts from.
enum class MaskedResidual {
  block,  ///< its masked input
  norm,   ///< its masked and normalised input
};

struct ReciprocamConfig {
  PatchMask mask = PatchMask::gaussian;
  MaskedResidual residual = MaskedResidual::block;
};

/// ViT-ReciproCAM (arXiv 2310.02588): the logits when the last block sees one patch at a time, after its
/// first norm, together with cls, registers and context tokens. [B, classes, N] raw logits, in the order of
/// the patches (ChannelViT: channel by channel, masks stay within a channel). Exact, but not one block a
/// patch: the query is that of cls, a patch that is masked out is a constant key and value, and those that
/// are not are scaled towards it. `grid`: of the images. The model has a head and Pooling::cls.
at::Tensor reciprocam(VisionTransformer& model, const Trail& trail, PatchGrid grid,
                      const ReciprocamConfig& config = {});

/// Maps [..., N] each moved and scaled to 0 … 1; a constant one becomes 0.
at::Tensor scaled_maps(const at::Tensor& maps);

}  // namespace cohort::nn
