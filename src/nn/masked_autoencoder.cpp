#include "cohort/nn/masked_autoencoder.h"

#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "cohort/core/error.h"
#include "cohort/nn/position.h"

#include "block.h"
#include "linear.h"

namespace cohort::nn {
namespace {

constexpr std::int64_t kDecoderMlpRatio = 4;

at::Tensor through(const std::shared_ptr<torch::nn::Module>& layer, const at::Tensor& tokens) {
  return linear(*layer->as<torch::nn::Linear>(), tokens);
}

void check_shapes(const VitShape& encoder, const DecoderShape& decoder) {
  if (encoder.family != Family::vit) {
    throw UsageError(
        {"a masked autoencoder predicts whole patches, and tokens of a ChannelViT are those of "
         "single channels",
         "model.family", "set model.family=vit"});
  }
  if (encoder.pooling != Pooling::cls) {
    throw UsageError(
        {"a masked autoencoder ends in the norm of all tokens, which model.pooling=mean leaves out",
         "model.pooling", "set model.pooling=cls; cohort finetune takes model.pooling=mean"});
  }
  if (encoder.embed_dim % 4 != 0) {
    throw UsageError({fmt::format("fixed positions have four parts, which a width of {} is no multiple of",
                                  encoder.embed_dim),
                      "model.width", "choose a multiple of 4"});
  }
  if (decoder.width % 4 != 0 || decoder.width % decoder.heads != 0) {
    throw UsageError({fmt::format("a decoder of width {} with {} heads: a multiple of 4 and of the heads is "
                                  "needed",
                                  decoder.width, decoder.heads),
                      "mae.decoder_width", "choose another width or another number of heads"});
  }
}

}  // namespace

MaskedAutoencoder::MaskedAutoencoder(std::shared_ptr<VisionTransformer> backbone,
                                     const DecoderShape& decoder) {
  using namespace torch::nn;
  const VitShape& encoder = backbone->shape();
  check_shapes(encoder, decoder);
  mask_token_ = register_parameter("mask_token", at::zeros({1, 1, decoder.width}));
  positions_ =
      register_buffer("decoder_pos_embed", fixed_positions(decoder.width, tokens_before_patches(encoder),
                                                           backbone->table_grid(), PositionOrder::mae));
  embed_ = register_module("decoder_embed", Linear(encoder.embed_dim, decoder.width).ptr());
  const auto blocks = register_module("decoder_blocks", std::make_shared<Module>());
  const BlockShape shape{decoder.width, decoder.heads, kDecoderMlpRatio * decoder.width, 0, 0, 0};
  for (std::int64_t l = 0; l < decoder.depth; ++l) {
    blocks_.push_back(
        blocks->register_module(std::to_string(l), std::make_shared<Block>(shape, encoder.depth + l)));
    add_unit({blocks_.back()});
  }
  norm_ = register_module("decoder_norm", make_layer_norm(decoder.width).ptr());
  const std::int64_t pixels = encoder.patch_size * encoder.patch_size * encoder.channels;
  predict_ = register_module("decoder_pred", Linear(decoder.width, pixels).ptr());
  backbone_ = add_tower("backbone", std::move(backbone));
}

at::Tensor MaskedAutoencoder::forward(const at::Tensor& images, const Masking& masking,
                                      const Conditions& conditions) {
  return decode(encode(images, masking, conditions), masking.restore, conditions);
}

at::Tensor MaskedAutoencoder::encode(const at::Tensor& images, const Masking& masking,
                                     const Conditions& conditions) {
  const Sequence seen = backbone_->embed(images, conditions, masking.kept);
  const std::size_t depth = static_cast<std::size_t>(backbone_->shape().depth);
  return backbone_->finish(backbone_->blocks(seen, 0, depth, conditions), Encoder::tokens).tokens;
}

at::Tensor MaskedAutoencoder::decode(const at::Tensor& latent, const at::Tensor& restore,
                                     const Conditions& conditions) {
  const std::int64_t images = latent.size(0), patches = restore.size(1),
                     before = tokens_before_patches(backbone_->shape()), kept = latent.size(1) - before;
  const at::Tensor tokens = through(embed_, latent);
  const at::Tensor all = at::cat({tokens.narrow(1, before, kept),
                                  mask_token_.to(tokens.scalar_type()).expand({images, patches - kept, -1})},
                                 1);
  const at::Tensor in_place = all.gather(1, restore.unsqueeze(2).expand({-1, -1, all.size(2)}));
  at::Tensor x = at::cat({tokens.narrow(1, 0, before), in_place}, 1) + positions_;
  for (std::size_t l = 0; l < blocks_.size(); ++l) {
    // By value: a runner may call the body again in the backward pass.
    x = run(l, x, [block = blocks_[l], conditions](const at::Tensor& values) {
      return block->forward(values, conditions, values.size(1));
    });
  }
  const at::Tensor predicted = through(predict_, norm_->as<torch::nn::LayerNorm>()->forward(x));
  return predicted.narrow(1, before, patches);
}

// He et al., appendix A.1, and the published code.
std::optional<Draw> MaskedAutoencoder::first_values_of(const std::string& name,
                                                       const torch::nn::Module& owner) const {
  if (name == "backbone.pos_embed") {
    const VitShape& shape = backbone_->shape();
    const std::int64_t before = shape.registers > 0 ? 0 : tokens_before_patches(shape);
    return draw::given([grid = backbone_->table_grid(), width = shape.embed_dim, before] {
      return fixed_positions(width, before, grid, PositionOrder::mae);
    });
  }
  if (name.ends_with("cls_token") || name == "mask_token") return draw::normal(0.02);
  const bool is_weighted =
      owner.as<torch::nn::Linear>() != nullptr || owner.as<torch::nn::Conv2d>() != nullptr;
  if (!is_weighted) return std::nullopt;
  return name.ends_with(".bias") ? draw::constant(0) : draw::xavier_uniform();
}

at::Tensor patches_of(const at::Tensor& images, std::int64_t patch_size) {
  const std::int64_t rows = images.size(2) / patch_size, columns = images.size(3) / patch_size;
  return images.view({images.size(0), images.size(1), rows, patch_size, columns, patch_size})
      .permute({0, 2, 4, 3, 5, 1})  // [B, rows, columns, P, P, C]
      .reshape({images.size(0), rows * columns, patch_size * patch_size * images.size(1)});
}

at::Tensor images_of(const at::Tensor& patches, PatchGrid grid, std::int64_t patch_size) {
  const std::int64_t channels = patches.size(2) / (patch_size * patch_size);
  return patches.view({patches.size(0), grid.rows, grid.columns, patch_size, patch_size, channels})
      .permute({0, 5, 1, 3, 2, 4})  // [B, C, rows, P, columns, P]
      .reshape({patches.size(0), channels, grid.rows * patch_size, grid.columns * patch_size});
}

}  // namespace cohort::nn
