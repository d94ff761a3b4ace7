#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cohort/nn/context.h"
#include "cohort/nn/encoder.h"
#include "cohort/nn/model_config.h"
#include "cohort/nn/position.h"

namespace cohort::nn {

class Block;
class PatchEmbedding;

/// Everything that decides the shapes of a vision transformer.
struct VitShape {
  std::int64_t channels, height, width;  ///< of the images that the position table is made for
  std::int64_t patch_size, embed_dim, depth, heads;
  double mlp_ratio, dropout, drop_path;
  std::int64_t classes;  ///< 0: no head
  Family family = Family::vit;
  std::int64_t registers = 0;
  double layer_scale = 0.0;  ///< 0: none
  PositionInterpolation positions = PositionInterpolation::reference;
  bool channel_sampling = false;
  Pooling pooling = Pooling::cls;
  ContextConfig context;                 ///< no keys: plain
  std::vector<std::int64_t> vocabulary;  ///< values of each context key
};

/// Fills in the size of `config.name`. Throws UsageError: unknown name, patch does not divide the image,
/// heads do not divide the width, a context key that cannot be a parameter's name. `vocabulary` [K]: number
/// of values of every context key.
VitShape vit_shape(const ModelConfig& config, const ContextConfig& context,
                   std::vector<std::int64_t> vocabulary, std::int64_t channels, std::int64_t height,
                   std::int64_t width, std::int64_t classes);

/// cls, registers and context tokens.
std::int64_t tokens_before_patches(const VitShape& shape) noexcept;

/// Tokens between two blocks of a vision transformer. T = before + n.
struct Sequence {
  at::Tensor tokens;        ///< [B, T, D]: cls, registers, contexts, then n patches
  at::Tensor context;       ///< [B, K, D]: the tokens of contexts at the input; undefined without keys
  std::int64_t before = 0;  ///< tokens before those of patches
  PatchGrid grid{};         ///< of whole images, also where some patches were left out
};

/// Vision transformer [cls, registers, context tokens, patches], pre-norm (methods: ViT arXiv 2010.11929;
/// ContextViT arXiv 2305.19402; registers arXiv 2309.16588; ChannelViT arXiv 2309.16108). The position table
/// has rows for cls, context tokens and patches; with registers, as in timm, for patches alone. Parameter
/// names are those of timm and of ContextViT's reference, so that weights can be exchanged. Weights are drawn
/// from (seed, Purpose::initialise, parameter name): the same on any number of ranks. Unit l is block l, with
/// its context network if inference is layerwise.
///
/// Pooled features are the cls token behind the final norm, or, with Pooling::mean, the mean of the patches
/// behind the last block, normalised by fc_norm, which then takes the place of the final norm (MAE, arXiv
/// 2111.06377, as published for fine-tuning). The head works on them. A pass that wants no more than these of
/// a cls token does not compute the others in the last block: the same values and gradients up to rounding,
/// for less.
class VisionTransformer final : public Encoder {
 public:
  /// Random weights of `seed`.
  VisionTransformer(VitShape shape, std::uint64_t seed);
  /// Without memory for the weights (discard_values); never holds more than those of one unit.
  explicit VisionTransformer(VitShape shape);

  /// embed(), blocks() and finish(). `images` [B, C, h, w], for ChannelViT [B, c, h, w] with
  /// conditions.channels; with channel sampling all of them, of which a training step keeps a subset drawn
  /// from (seed, step). Other sizes than the table's interpolate it (bicubic). h and w are multiples of the
  /// patch. Tokens are those behind the final norm, [B, 1+R+K+N, D]; R registers, N of ChannelViT: c
  /// (h/P)(w/P). The map is that of the patches, for ChannelViT the mean over channels. Collective over
  /// conditions.ranks in global scope, forward and backward. Errors: ContextInference::forward(). Layerwise
  /// context networks work after every block but the last, where they could change nothing: the parameters of
  /// the last one get no gradient.
  Output encode(const at::Tensor& images, const Conditions& conditions, unsigned wanted) override;
  Output encode_at(std::int64_t layer, const at::Tensor& images, const Conditions& conditions,
                   unsigned wanted) override;

  /// Begins a forward pass: what enters block 0, with positions. `kept` [B, n] i64: the patches that are
  /// looked at, numbered row by row, for ChannelViT channel by channel (no channel sampling then); undefined:
  /// all. Nothing else is computed: contexts are inferred from these alone. Collective as encode().
  Sequence embed(const at::Tensor& images, const Conditions& conditions, const at::Tensor& kept = {});
  /// What comes out of block `last` - 1 when `from` enters block `first`, [B, T, D]; of the last block of all
  /// the cls token alone, [B, 1, D], where that is all that is needed for what is `wanted`.
  at::Tensor blocks(Sequence from, std::size_t first, std::size_t last, const Conditions& conditions,
                    unsigned wanted = tokens);
  /// What is wanted of the tokens behind the last block, but for maps and contexts.
  Output finish(const at::Tensor& tokens, unsigned wanted);

  [[nodiscard]] const VitShape& shape() const noexcept { return shape_; }
  /// Of the patches that the position table is made for.
  [[nodiscard]] PatchGrid table_grid() const noexcept;
  [[nodiscard]] const EncoderTraits& traits() const noexcept override { return traits_; }
  [[nodiscard]] std::int64_t token_count(std::int64_t channels, std::int64_t height,
                                         std::int64_t width) const override;
  [[nodiscard]] std::string summary() const override;
  [[nodiscard]] std::string_view head() const noexcept override { return "head."; }
  [[nodiscard]] std::span<const Dialect> dialects() const noexcept override;
  [[nodiscard]] bool is_optional(std::string_view name) const override;
  [[nodiscard]] std::optional<Adapted> adapt(const std::string& name, const at::Tensor& parameter,
                                             const at::Tensor& stored, NamesOfBoth names) const override;
  /// For what looks into it. The block lives as long as the model.
  [[nodiscard]] Block& block(std::size_t layer) const;

 private:
  VisionTransformer(VitShape shape, const std::function<void(torch::nn::Module&)>& finish);
  at::Tensor embed_patches(const at::Tensor& images, const Conditions& conditions, const at::Tensor& kept);
  at::Tensor assemble(const at::Tensor& patches, const at::Tensor& context, const at::Tensor& positions);
  [[nodiscard]] at::Tensor positions(PatchGrid grid, std::int64_t channels, const at::Tensor& kept) const;
  at::Tensor run_unit(std::size_t index, const at::Tensor& tokens, const Conditions& conditions,
                      std::int64_t count);
  [[nodiscard]] at::Tensor pool(const at::Tensor& tokens) const;
  [[nodiscard]] FeatureMap map_of(const at::Tensor& tokens, PatchGrid grid) const;
  /// 0: tokens, positions, patch embedding, context networks at the input; l + 1: block l; depth + 1: norms
  /// and head.
  [[nodiscard]] int own_layer_of(const std::string& parameter) const override;

  VitShape shape_;
  EncoderTraits traits_;
  std::shared_ptr<PatchEmbedding> patch_embedding_;
  std::shared_ptr<ContextInference> context_;  ///< null without keys
  std::vector<std::shared_ptr<Block>> blocks_;
  std::vector<std::shared_ptr<ContextInference>> block_contexts_;  ///< layerwise only
  std::shared_ptr<torch::nn::Module> norm_, pooled_norm_;  ///< LayerNorm; the one of tokens or the other
  std::shared_ptr<torch::nn::Module> head_;                ///< Linear; null without
  at::Tensor cls_token_, reg_token_, pos_embed_;           ///< no registers: undefined
};

}  // namespace cohort::nn
