#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "cohort/config/field.h"
#include "cohort/nn/norm_scope.h"
#include "cohort/nn/position.h"

namespace cohort::nn {

/// What a patch becomes: one token (arXiv 2010.11929), or one for each channel (ChannelViT, arXiv
/// 2309.16108).
enum class Family { vit, channelvit };
std::span<const config::EnumName<Family>> enum_names(Family);

/// What the head of a vision transformer works on.
enum class Pooling {
  cls,   ///< the cls token behind the final norm
  mean,  ///< the mean of the patches, then a norm of its own (fc_norm); no final norm
};
std::span<const config::EnumName<Pooling>> enum_names(Pooling);

/// How a residual network begins.
enum class Stem {
  imagenet,  ///< a convolution of 7 x 7 with stride 2, and pooling with stride 2
  small,     ///< one of 3 x 3 with stride 1, as for images of 32 x 32 pixels (arXiv 1512.03385, section 4.2)
};
std::span<const config::EnumName<Stem>> enum_names(Stem);

/// Of a residual network alone.
struct ResNetConfig {
  NormScope batch_norm = NormScope::group;
  Stem stem = Stem::imagenet;
  std::int64_t width = 64;

  template <class Visit>
  void fields(Visit& visit) {
    visit("batch_norm", batch_norm,
          "images that share statistics in training: those of a group; all of a pass, on all ranks; or none: "
          "the running statistics stay as they are");
    visit("stem", stem,
          "how the network begins: imagenet: a convolution of 7 x 7 and pooling, which together take every "
          "fourth pixel; small: one of 3 x 3 that keeps all pixels, for images below some 64 pixels");
    visit("width", width, "channels of the first stage; doubled in each of the three others",
          config::Range<std::int64_t>{1, 4096});
  }
};

/// Positions of a compact transformer's patches.
enum class CctPositions {
  learned,     ///< a table of one row for each patch
  sinusoidal,  ///< sines and cosines of a patch's number
};
std::span<const config::EnumName<CctPositions>> enum_names(CctPositions);

/// Of a compact transformer alone.
struct CctConfig {
  CctPositions positions = CctPositions::learned;
  double attention_dropout = 0.1;

  template <class Visit>
  void fields(Visit& visit) {
    visit("positions", positions,
          "learned: a table, interpolated for other image sizes; sinusoidal: sines and cosines of a patch's "
          "number, which nothing learns");
    visit("attention_dropout", attention_dropout, "dropout of attention weights", config::Range{0.0, 0.99});
  }
};

/// What features of cSiT are made of.
enum class CsitPooling {
  tokens,    ///< its two tokens: their mean; logits are the mean of those of a head on each
  sequence,  ///< all tokens, by learned weights
};
std::span<const config::EnumName<CsitPooling>> enum_names(CsitPooling);

/// Of cSiT's encoder alone.
struct CsitConfig {
  CsitPooling pooling = CsitPooling::tokens;

  template <class Visit>
  void fields(Visit& visit) {
    visit(
        "pooling", pooling,
        "what features are made of: tokens: the mean of the rotation token and the contrastive token, with a "
        "head on each, whose logits are averaged; sequence: all tokens by learned weights, with one head");
  }
};

/// Of all families (nn/encoders.h), in their order.
std::vector<std::string> encoder_names();

/// Which encoder is built, and how large.
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
  Pooling pooling = Pooling::cls;
  std::filesystem::path weights{};
  ResNetConfig resnet{};
  CctConfig cct{};
  CsitConfig csit{};

  template <class Visit>
  void fields(Visit& visit) {
    visit.choice(
        "name", name, encoder_names(),
        "encoder and size (docs/encoders.md). Keys below are of vision transformers, but for weights; what "
        "others have is in sections of their own");
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
          "interpolation of the position table for other image sizes: reference: as in published DINO and "
          "ContextViT weights; exact: to the exact size, antialiased; plain: to the exact size, as DeiT and "
          "MAE");
    visit("channel_sampling", channel_sampling,
          "train each step on a random subset of the channels (hierarchical channel sampling)");
    visit(
        "pooling", pooling,
        "what features and head are made of: cls: the cls token; mean: the mean of the patch tokens, with a "
        "norm of its own in place of the final one, as published MAE models are fine-tuned");
    visit("weights", weights, "safetensors file that training starts from; empty: random weights");
    visit.section("resnet", resnet, "residual networks");
    visit.section("cct", cct,
                  "compact transformers, which have model.width, depth, heads and drop_path, too");
    visit.section("csit", csit, "cSiT's encoder, which has model.width, depth, heads and drop_path, too");
  }
};

}  // namespace cohort::nn
