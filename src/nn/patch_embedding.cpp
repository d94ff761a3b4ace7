#include "patch_embedding.h"

#include <ATen/ATen.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include "cohort/core/error.h"

#include "linear.h"

namespace cohort::nn {
namespace {

void check_channels(const at::Tensor& channels, std::int64_t known) {
  const at::Tensor outside = channels.lt(0).logical_or_(channels.ge(known));
  if (!outside.any().item<bool>()) return;
  throw DataError({fmt::format("an image has channel number {}, unknown to the model",
                               channels.masked_select(outside)[0].item<std::int64_t>()),
                   fmt::format("the model was made for {} channels", known),
                   "use images of the dataset that the model was trained on"});
}

at::Tensor rounded(const at::Tensor& values) {
  return values.to(at::kBFloat16).to(at::kFloat);
}

// [B, C, h, w] -> [B, D, h / patch, w / patch]; under autocast as linear() forms products.
at::Tensor convolve(const at::Tensor& images, const at::Tensor& weight, const at::Tensor& bias) {
  const at::IntArrayRef stride = weight.sizes().slice(2);
  if (!images.is_cpu() || !narrows_products(at::kCPU) || has_bf16_products())
    return at::conv2d(images, weight, bias, stride);
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  return at::conv2d(rounded(images), rounded(weight), rounded(bias), stride).to(at::kBFloat16);
}

}  // namespace

PatchEmbedding::PatchEmbedding(const VitShape& shape) : channels_(shape.channels) {
  using namespace torch::nn;
  const std::int64_t patch = shape.patch_size;
  if (shape.family == Family::vit) {
    const auto options = Conv2dOptions(channels_, shape.embed_dim, patch).stride(patch);
    projection_ = register_module("proj", std::make_shared<Conv2dImpl>(options));
    return;
  }
  const auto options = Conv3dOptions(1, shape.embed_dim, {1, patch, patch}).stride({1, patch, patch});
  channel_projection_ = register_module("proj", std::make_shared<Conv3dImpl>(options));
  channel_embed_ = register_module(
      "channel_embed", std::make_shared<EmbeddingImpl>(EmbeddingOptions(channels_, shape.embed_dim)));
}

at::Tensor PatchEmbedding::forward(const at::Tensor& images, const at::Tensor& channels) {
  if (channel_projection_ != nullptr) return embed_channels(images, channels);
  COHORT_CHECK(images.size(1) == channels_, "images of {} channels, not {}, were promised", channels_,
               images.size(1));
  return convolve(images, projection_->weight, projection_->bias).flatten(2).transpose(1, 2);
}

at::Tensor PatchEmbedding::embed_channels(const at::Tensor& images, const at::Tensor& channels) {
  const std::int64_t count = images.size(0), present = images.size(1);
  COHORT_CHECK(present == (channels.defined() ? channels.numel() : channels_),
               "images of {} channels with {} names", present,
               channels.defined() ? channels.numel() : channels_);
  at::Tensor table = channel_embed_->weight;  // [c, D]
  if (channels.defined()) {
    check_channels(channels, channels_);
    table = table.index_select(0, channels);
  }
  const at::Tensor patches = convolve(images.reshape({count * present, 1, images.size(2), images.size(3)}),
                                      channel_projection_->weight.squeeze(2), channel_projection_->bias);
  const at::Tensor tokens =
      patches.flatten(2).transpose(1, 2).reshape({count, present, -1, table.size(1)});  // [B, c, N, D]
  return (tokens + table.unsqueeze(1)).flatten(1, 2);
}

}  // namespace cohort::nn
