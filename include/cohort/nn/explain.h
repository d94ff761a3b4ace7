#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/config/field.h"
#include "cohort/nn/resnet.h"
#include "cohort/nn/vit.h"

namespace cohort::nn {

/// A forward pass and what entered each block: [B, 1+R+K+N, D].
struct Trail {
  std::vector<at::Tensor> inputs;
  at::Tensor logits;  ///< [B, classes]; undefined without a head
};

/// VisionTransformer::encode(), with the inputs of its blocks kept.
Trail encode_with_trail(VisionTransformer& model, const at::Tensor& images, const Conditions& conditions);

/// The same of images [n, C, h, w] that were made from others: image i from number from[i] ([n] i64) of those
/// that left `seen` under `conditions`. Its context tokens are the ones that were inferred there, in every
/// block, so that no number depends on what became of other images.
Trail encode_beside(VisionTransformer& model, const at::Tensor& images, const Conditions& conditions,
                    const Trail& seen, const at::Tensor& from);

/// Softmax weights of block `layer` for its input `tokens` [B, T, D]: [B, heads, T, T], rows add up to 1.
/// fp32. The parameters of the model are whole on this rank, here and below.
at::Tensor attention_weights(const VisionTransformer& model, std::int64_t layer, const at::Tensor& tokens);

/// What the answer is made from attends to in the last block, [B, heads, N]: cls, or the mean of the patches.
at::Tensor attention_of_answer(const VisionTransformer& model, const Trail& trail);

/// What cls, or the mean of the patches, gets from each patch through all blocks, [B, N]: the product over
/// blocks of (A + 1)/2, A the mean over heads (attention rollout, Abnar and Zuidema, arXiv 2005.00928).
at::Tensor attention_rollout(const VisionTransformer& model, const Trail& trail);

/// Which places are shown with the one that is asked for. Nothing is made up for what lies outside.
enum class PlaceMask {
  delta,     ///< it alone
  gaussian,  ///< [1 2 1; 2 4 2; 1 2 1]/16 around it
  square,    ///< `side` x `side` places around it, all of weight 1
};
std::span<const config::EnumName<PlaceMask>> enum_names(PlaceMask);

/// Where the residual stream of the masked block starts from.
enum class MaskedResidual {
  block,  ///< its masked input
  norm,   ///< its masked and normalised input
};
std::span<const config::EnumName<MaskedResidual>> enum_names(MaskedResidual);

/// What of a class a map shows.
enum class MapScore { logit, softmax };
std::span<const config::EnumName<MapScore>> enum_names(MapScore);

struct ReciprocamConfig {
  PlaceMask mask = PlaceMask::gaussian;
  MaskedResidual residual = MaskedResidual::block;
  std::int64_t side = 3;       ///< of PlaceMask::square, odd
  bool keep_auxiliary = true;  ///< cls, registers and context tokens are shown too; false: weight 0
  std::int64_t block = 1;      ///< that is masked, counted from the last one; of a ResNet: stage
  MapScore score = MapScore::logit;
  std::int64_t chunk = 64;  ///< masked copies of an image at once, where there is no shortcut
};

/// ViT-ReciproCAM (arXiv 2310.02588): the scores when a block sees one patch at a time, after its first norm,
/// together with cls, registers and context tokens; the blocks behind it run as ever, with the context tokens
/// of the whole image. [B, classes, N] f32, in the order of the patches (ChannelViT: channel by channel,
/// masks stay within a channel). `grid`: of the images. The model has a head.
///
/// Of the last block and Pooling::cls it is exact, but not one block a patch: the query is that of cls, a
/// patch that is masked out is a constant key and value, and those that are not are scaled towards it. All
/// else is reciprocam_by_copies().
at::Tensor reciprocam(VisionTransformer& model, const Trail& trail, PatchGrid grid,
                      const ReciprocamConfig& config = {});

/// The same by definition, with a masked copy of each image for each patch.
at::Tensor reciprocam_by_copies(VisionTransformer& model, const Trail& trail, PatchGrid grid,
                                const ReciprocamConfig& config = {});

/// Recipro-CAM (arXiv 2209.14074): the scores when what follows the map [B, C, h, w] behind a stage, the last
/// one for block 1, sees one place of it at a time. [B, classes, h w] f32. `model` has a head.
at::Tensor reciprocam(ResNet& model, const at::Tensor& map, const ReciprocamConfig& config = {});

/// Maps [..., N] each moved and scaled to 0 … 1; a constant one becomes 0.
at::Tensor scaled_maps(const at::Tensor& maps);

}  // namespace cohort::nn
