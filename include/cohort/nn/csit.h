#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cohort/nn/context.h"
#include "cohort/nn/encoder.h"
#include "cohort/nn/model_config.h"
#include "cohort/nn/position.h"

namespace cohort::nn {

class Block;
class ConvolutionalTokenizer;

/// Everything that decides the shapes of cSiT's encoder.
struct CsitShape {
  std::int64_t channels = 3, height = 0, width = 0;  ///< of the images that the position table is made for
  bool is_fine = false;                              ///< a token every 8 pixels instead of 16
  std::int64_t planes = 64;                          ///< channels between the two convolutions
  std::int64_t embed_dim = 192, depth = 14, heads = 6;
  std::int64_t classes = 0;  ///< 0: no head
  double drop_path = 0.0;
  CsitPooling pooling = CsitPooling::tokens;
  ContextConfig context{};                 ///< no keys: plain
  std::vector<std::int64_t> vocabulary{};  ///< values of each context key
};

/// csit_14_7x2_p16 or csit_14_7x2_p8, without a head, for images of no size. Nothing for another name.
std::optional<CsitShape> csit_shape(const std::string& name);
std::vector<std::string> csit_names();

/// The compact vision transformer of cSiT, as published: tokens [rotation, contrastive, contexts, patches],
/// of which two convolutions of 7 x 7 make the patches; pre-norm blocks as those of ViT, with an MLP of three
/// times the width. Parameters have the published names (rot_token, contrastive_token,
/// patch_embed.conv_layers, blocks.0.attn.qkv). The position table has rows for the two tokens and for
/// patches. Context tokens are ours: inferred from what the tokenizer makes, as in ContextViT (arXiv
/// 2305.19402), without positions. Pooled features and logits: CsitPooling; the two heads are rot_head and
/// contrastive_head, the one of a sequence is last_fc, behind attention_pool. Unit l is block l, with its
/// context network if inference is layerwise; the rest is the root unit. Not copyable. One thread at a time.
class Csit final : public Encoder {
 public:
  /// Random weights of `seed`.
  Csit(CsitShape shape, std::uint64_t seed);
  /// Without memory for the weights (discard_values).
  explicit Csit(CsitShape shape);

  /// `images` [B, C, h, w], normalised. Tokens are those behind the final norm, [B, 2 + K + N, D], the map
  /// that of the patches. Another grid than the table's has it interpolated (bicubic,
  /// PositionInterpolation::plain). Collective over conditions.ranks in global scope, forward and backward.
  /// Errors: ContextInference::forward(). Layerwise context networks work after every block but the last.
  Output encode(const at::Tensor& images, const Conditions& conditions, unsigned wanted) override;
  /// By which tokens [B, T, D] behind the final norm are pooled, [B, T]. Of CsitPooling::sequence alone.
  at::Tensor pooling_weights(const at::Tensor& tokens);

  [[nodiscard]] const CsitShape& shape() const noexcept { return shape_; }
  [[nodiscard]] const EncoderTraits& traits() const noexcept override { return traits_; }
  [[nodiscard]] std::int64_t token_count(std::int64_t channels, std::int64_t height,
                                         std::int64_t width) const override;
  [[nodiscard]] std::string summary() const override;
  [[nodiscard]] std::string_view head() const noexcept override;
  /// Of pre-training: its heads, decoder and weights of losses are left out.
  [[nodiscard]] std::span<const Dialect> dialects() const noexcept override;
  /// Heads and the pooling of the other way of pooling.
  [[nodiscard]] bool is_optional(std::string_view name) const override;
  [[nodiscard]] std::optional<Adapted> adapt(const std::string& name, const at::Tensor& parameter,
                                             const at::Tensor& stored, NamesOfBoth names) const override;

 private:
  void add_blocks();
  void add_heads();
  at::Tensor run_unit(std::size_t index, const at::Tensor& tokens, const Conditions& conditions);
  at::Tensor assemble(const at::Tensor& patches, const at::Tensor& context, PatchGrid grid) const;
  at::Tensor pool(const at::Tensor& tokens);
  at::Tensor answer(const Output& output);
  [[nodiscard]] PatchGrid table_grid() const noexcept;
  /// 0: tokenizer, tokens, positions, contexts at the input; l + 1: block l; depth + 1: all behind.
  [[nodiscard]] int own_layer_of(const std::string& parameter) const override;

  CsitShape shape_;
  EncoderTraits traits_;
  std::shared_ptr<ConvolutionalTokenizer> tokenizer_;
  std::shared_ptr<ContextInference> context_;  ///< null without keys
  std::vector<std::shared_ptr<Block>> blocks_;
  std::vector<std::shared_ptr<ContextInference>> block_contexts_;  ///< layerwise only
  std::shared_ptr<torch::nn::Module> norm_, attention_pool_;       ///< LayerNorm, Linear; tokens: null
  std::array<std::shared_ptr<torch::nn::Module>, 2> heads_;        ///< Linear; of a sequence: the first alone
  at::Tensor rot_token_, contrastive_token_, pos_embed_;
};

}  // namespace cohort::nn
