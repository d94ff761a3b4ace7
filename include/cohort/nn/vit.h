#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cohort/config/field.h"
#include "cohort/nn/context.h"
#include "cohort/nn/position.h"
#include "cohort/nn/unit_model.h"

namespace cohort::nn {

class Block;
class PatchEmbedding;

/// What a patch becomes: one token (arXiv 2010.11929), or one for each channel (ChannelViT, arXiv
/// 2309.16108).
enum class Family { vit, channelvit };
std::span<const config::EnumName<Family>> enum_names(Family);

struct ModelConfig {
  std::string name = "vit_small";
  Family family = Family::vit;
  std::int64_t patch_size = 16;
  std::int64_t width = 0, depth = 0, heads = 0;
  double mlp_ratio = 4.0;
  double dropout = 0.0, drop_path = 0.0;
  std::int64_t registers = 0;
  double layer_scale = 0.0;
  PositionInterpolation positions = PositionInterpolation::reference;
  bool channel_sampling = false;
  std::filesystem::path weights{};

  template <class Visit>
  void fields(Visit& visit) {
    visit("name", name,
          "size: vit_tiny, vit_small, vit_base, vit_large, vit_huge or vit_giant (width 192, 384, 768, 1024, "
          "1280, 1536)");
    visit("family", family, "vit: a token for each patch; channelvit: one for each channel of each patch");
    visit("patch_size", patch_size, "height and width of a patch, in pixels",
          config::Range<std::int64_t>{1, 1024});
    visit("width", width, "width of a token; 0: that of model.name", config::Range<std::int64_t>{0, 1 << 16});
    visit("depth", depth, "transformer blocks; 0: those of model.name", config::Range<std::int64_t>{0, 1024});
    visit("heads", heads, "attention heads; 0: those of model.name", config::Range<std::int64_t>{0, 1024});
    visit("mlp_ratio", mlp_ratio, "width of the MLP's hidden layer, relative to the token's",
          config::Range{0.1, 64.0});
    visit("dropout", dropout, "dropout after the position embedding, projections and MLP layers",
          config::Range{0.0, 0.99});
    visit("drop_path", drop_path, "stochastic depth of the last block; grows linearly from 0",
          config::Range{0.0, 0.99});
    visit("registers", registers, "register tokens behind the cls token, thrown away at the output",
          config::Range<std::int64_t>{0, 1024});
    visit("layer_scale", layer_scale,
          "first value of the factors of each residual branch's channels; 0: no such factors",
          config::Range{0.0, 10.0});
    visit("positions", positions,
          "interpolation of the position table for other image sizes: as in published DINO and ContextViT "
          "weights, or to the exact size with antialiasing");
    visit("channel_sampling", channel_sampling,
          "train each step on a random subset of the channels (hierarchical channel sampling)");
    visit("weights", weights, "safetensors file that training starts from; empty: random weights");
  }
};

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

/// Vision transformer [cls, registers, context tokens, patches], pre-norm (methods: ViT arXiv 2010.11929;
/// ContextViT arXiv 2305.19402; registers arXiv 2309.16588; ChannelViT arXiv 2309.16108). The position table
/// has rows for cls, context tokens and patches; with registers, as in timm, for patches alone. Parameter
/// names are those of timm and of ContextViT's reference, so that weights can be exchanged. Weights are drawn
/// from (seed, Purpose::initialise, parameter name): the same on any number of ranks. Unit l is block l, with
/// its context network if inference is layerwise. Not copyable. One thread at a time.
class VisionTransformer final : public UnitModel {
 public:
  /// Random weights of `seed`.
  VisionTransformer(VitShape shape, std::uint64_t seed);
  /// Without memory for the weights (discard_values); never holds more than those of one unit.
  explicit VisionTransformer(VitShape shape);

  /// What a caller needs of the tokens behind the last block.
  enum class Wanted { all, cls };
  struct Output {
    at::Tensor cls;     ///< [B, D] after the final norm
    at::Tensor logits;  ///< [B, classes]; undefined without a head
    at::Tensor tokens;  ///< [B, 1+R+K+N, D] after the final norm; R registers, N of ChannelViT: c (h/P)(w/P);
                        ///< of Wanted::cls only the first, [B, 1, D]
    at::Tensor context;  ///< [B, K, D]: the tokens inferred at the input; undefined without keys
  };
  /// `images` [B, C, h, w] normalised, for ChannelViT [B, c, h, w] with conditions.channels; with channel
  /// sampling all of them, of which a training step keeps a subset drawn from (seed, step). Other sizes than
  /// the table's interpolate it (bicubic). h and w are multiples of the patch. Collective over
  /// conditions.ranks in global scope, forward and backward. Errors: ContextInference::forward(). Layerwise
  /// context networks work after every block but the last, where they could change nothing: the parameters of
  /// the last one get no gradient. With Wanted::cls the last block works on the cls token alone once
  /// attention has mixed the others into it: the same values and gradients up to rounding, for less.
  Output forward(const at::Tensor& images, const Conditions& conditions, Wanted wanted = Wanted::all);

  [[nodiscard]] const VitShape& shape() const noexcept { return shape_; }

 private:
  VisionTransformer(VitShape shape, const std::function<void(torch::nn::Module&)>& finish);
  at::Tensor embed_patches(const at::Tensor& images, const Conditions& conditions);
  at::Tensor assemble(const at::Tensor& patches, const at::Tensor& context, PatchGrid grid);
  at::Tensor with_positions(const at::Tensor& tokens, PatchGrid grid);
  at::Tensor run_unit(std::size_t index, const at::Tensor& tokens, const Conditions& conditions,
                      Wanted wanted);
  /// 0: tokens, positions, patch embedding, context networks at the input; l + 1: block l; depth + 1: norm
  /// and head.
  [[nodiscard]] int own_layer_of(const std::string& parameter) const override;

  VitShape shape_;
  std::shared_ptr<PatchEmbedding> patch_embedding_;
  std::shared_ptr<ContextInference> context_;  ///< null without keys
  std::vector<std::shared_ptr<Block>> blocks_;
  std::vector<std::shared_ptr<ContextInference>> block_contexts_;  ///< layerwise only
  std::shared_ptr<torch::nn::Module> norm_, head_;                 ///< LayerNorm, Linear; no head: null
  at::Tensor cls_token_, reg_token_, pos_embed_;                   ///< no registers: undefined
};

}  // namespace cohort::nn
