#pragma once
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

class CctBlock;
class ConvolutionalTokenizer;

/// Everything that decides the shapes of a compact transformer.
struct CctShape {
  std::int64_t channels = 3, height = 0, width = 0;  ///< of the images that the position table is made for
  std::int64_t kernel = 7;                           ///< of convolutions; of patches: their size
  std::int64_t convolutions = 2;                     ///< 0: patches instead (CVT)
  std::int64_t planes = 64;                          ///< channels between convolutions
  std::int64_t embed_dim = 384, depth = 14, heads = 6, hidden = 1152;
  std::int64_t classes = 0;  ///< 0: no head
  double drop_path = 0.0, attention_dropout = 0.0;
  CctPositions positions = CctPositions::learned;
  ContextConfig context{};                 ///< no keys: plain
  std::vector<std::int64_t> vocabulary{};  ///< values of each context key
};

/// cct_14_7x2 and others, cvt_7_4 and others, without a head, for images of no size. Nothing for another
/// name.
std::optional<CctShape> cct_shape(const std::string& name);
std::vector<std::string> cct_names();

/// Compact transformers, CCT and CVT (Hassani et al., arXiv 2104.05704), as published: tokens [contexts,
/// patches], of which convolutions make the patches; in each block t = norm1(t + attention(pre_norm(t))), t =
/// t + mlp(t), the second norm on the residual path; all tokens behind the final norm are pooled by weights
/// softmax(attention_pool(t)). Parameters have the published names (tokenizer.conv_layers.0.0,
/// classifier.blocks.0.self_attn.qkv, classifier.fc). Context tokens are ours: inferred from what the
/// tokenizer makes, as in ContextViT (arXiv 2305.19402), without positions. Unit l is block l, with its
/// context network if inference is layerwise; the rest is the root unit. Not copyable. One thread at a time.
class Cct final : public Encoder {
 public:
  /// Random weights of `seed`.
  Cct(CctShape shape, std::uint64_t seed);
  /// Without memory for the weights (discard_values).
  explicit Cct(CctShape shape);

  /// `images` [B, C, h, w], normalised. Tokens are those behind the final norm, [B, K + N, D], the map that
  /// of the patches. Another grid than the table's has it interpolated (bicubic,
  /// PositionInterpolation::plain); sines are those of the grid. Collective over conditions.ranks in global
  /// scope, forward and backward. Errors: ContextInference::forward(). Layerwise context networks work after
  /// every block but the last.
  Output encode(const at::Tensor& images, const Conditions& conditions, unsigned wanted) override;
  /// What the tokenizer makes of images, [B, N, D]. For what looks into it: begin() is the caller's.
  at::Tensor patches_of(const at::Tensor& images);
  /// By which tokens [B, T, D] behind the final norm are pooled, [B, T].
  at::Tensor pooling_weights(const at::Tensor& tokens);

  [[nodiscard]] const CctShape& shape() const noexcept { return shape_; }
  [[nodiscard]] const EncoderTraits& traits() const noexcept override { return traits_; }
  [[nodiscard]] std::int64_t token_count(std::int64_t channels, std::int64_t height,
                                         std::int64_t width) const override;
  [[nodiscard]] std::string summary() const override;
  [[nodiscard]] std::string_view head() const noexcept override { return "classifier.fc."; }
  [[nodiscard]] std::span<const Dialect> dialects() const noexcept override { return {}; }
  [[nodiscard]] bool is_optional(std::string_view name) const override;
  [[nodiscard]] std::optional<Adapted> adapt(const std::string& name, const at::Tensor& parameter,
                                             const at::Tensor& stored, NamesOfBoth names) const override;

 private:
  void add_blocks(torch::nn::Module& classifier);
  at::Tensor run_unit(std::size_t index, const at::Tensor& tokens, const Conditions& conditions);
  at::Tensor pool(const at::Tensor& tokens);
  [[nodiscard]] PatchGrid table_grid() const noexcept;
  [[nodiscard]] at::Tensor positions(PatchGrid grid, const at::Tensor& like) const;
  /// 0: tokenizer, positions, contexts at the input; l + 1: block l; depth + 1: final norm, pooling, head.
  [[nodiscard]] int own_layer_of(const std::string& parameter) const override;

  CctShape shape_;
  EncoderTraits traits_;
  std::shared_ptr<ConvolutionalTokenizer> tokenizer_;
  std::shared_ptr<ContextInference> context_;  ///< null without keys
  std::vector<std::shared_ptr<CctBlock>> blocks_;
  std::vector<std::shared_ptr<ContextInference>> block_contexts_;    ///< layerwise only
  std::shared_ptr<torch::nn::Module> norm_, attention_pool_, head_;  ///< LayerNorm, Linear; no head: null
  at::Tensor positional_emb_;                                        ///< sines: undefined
};

}  // namespace cohort::nn
