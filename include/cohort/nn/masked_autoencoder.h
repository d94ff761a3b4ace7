#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cohort/nn/initialise.h"
#include "cohort/nn/masking.h"
#include "cohort/nn/vit.h"

namespace cohort::nn {

class Block;

struct DecoderShape {
  std::int64_t width = 512, depth = 8, heads = 16;
};

/// A vision transformer that sees some patches of an image, and a decoder that predicts the pixels of all
/// (He et al., arXiv 2111.06377, section 3). The encoder is the tower "backbone"; its position table begins
/// as fixed_positions(), with zeros for cls and context tokens. The decoder has the published names:
/// mask_token, decoder_embed, decoder_blocks, decoder_norm, decoder_pred, and the buffer decoder_pos_embed.
/// Linear layers and the patch embedding are drawn as published (Xavier-uniform, bias 0). Units: the
/// decoder's blocks, then those of the encoder. Not copyable. One thread at a time.
class MaskedAutoencoder final : public UnitModel, public Initialised {
 public:
  /// Values are uninitialised: initialise() or discard_values() comes next. Throws UsageError: a ChannelViT,
  /// whose tokens are of single channels; heads that do not divide the width.
  MaskedAutoencoder(std::shared_ptr<VisionTransformer> backbone, const DecoderShape& decoder);

  /// Pixels of every patch [B, N, P² C], values of a patch by row, column and channel. `images` [B, C, H, W]
  /// of the encoder's own size. Context tokens come from the patches that are kept, so that nothing of the
  /// others leaks, and go through the decoder beside the cls token. Collective where the encoder is.
  at::Tensor forward(const at::Tensor& images, const Masking& masking, const Conditions& conditions);
  /// Its first half: tokens [B, T, D] of what is kept, behind the encoder's norm, the cls token first.
  at::Tensor encode(const at::Tensor& images, const Masking& masking, const Conditions& conditions);
  /// Its second half, from what encode() gave and Masking::restore.
  at::Tensor decode(const at::Tensor& latent, const at::Tensor& restore, const Conditions& conditions);

  [[nodiscard]] const std::shared_ptr<VisionTransformer>& backbone() const noexcept { return backbone_; }
  [[nodiscard]] std::optional<Draw> first_values_of(const std::string& name,
                                                    const torch::nn::Module& owner) const override;

 private:
  std::shared_ptr<VisionTransformer> backbone_;
  std::vector<std::shared_ptr<Block>> blocks_;
  std::shared_ptr<torch::nn::Module> embed_, norm_, predict_;  ///< Linear, LayerNorm, Linear
  at::Tensor mask_token_, positions_;
};

/// [B, C, H, W] -> [B, N, P² C], patches row by row, values of a patch by row, column and channel.
at::Tensor patches_of(const at::Tensor& images, std::int64_t patch_size);
/// The inverse: [B, N, P² C] -> [B, C, H, W].
at::Tensor images_of(const at::Tensor& patches, PatchGrid grid, std::int64_t patch_size);

}  // namespace cohort::nn
