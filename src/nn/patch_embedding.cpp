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

/// The patches `kept` [B, n] of `images` as smaller images: all of them where they were, fewer side by side.
at::Tensor image_of(const at::Tensor& images, const at::Tensor& kept, std::int64_t patch) {
  const std::int64_t count = images.size(0), channels = images.size(1), rows = images.size(2) / patch,
                     columns = images.size(3) / patch, n = kept.size(1);
  const at::Tensor image = at::arange(count, kept.options()).unsqueeze(1);
  const at::Tensor patches = images.view({count, channels, rows, patch, columns, patch})
                                 .permute({0, 2, 4, 1, 3, 5})
                                 .index({image, kept.floor_divide(columns), kept.remainder(columns)});
  const std::int64_t high = n == rows * columns ? rows : 1;  // [B, n, C, P, P] in `high` rows
  return patches.view({count, high, n / high, channels, patch, patch})
      .permute({0, 3, 1, 4, 2, 5})
      .reshape({count, channels, high * patch, n / high * patch});
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

at::Tensor PatchEmbedding::forward(const at::Tensor& images, const at::Tensor& channels,
                                   const at::Tensor& kept) {
  if (channel_projection_ != nullptr) return embed_channels(images, channels, kept);
  COHORT_CHECK(images.size(1) == channels_, "images of {} channels, not {}, were promised", channels_,
               images.size(1));
  const at::Tensor seen = kept.defined() ? image_of(images, kept, projection_->weight.size(2)) : images;
  return convolve(seen, projection_->weight, projection_->bias).flatten(2).transpose(1, 2);
}

at::Tensor PatchEmbedding::embed_channels(const at::Tensor& images, const at::Tensor& channels,
                                          const at::Tensor& kept) {
  const std::int64_t count = images.size(0), present = images.size(1), height = images.size(2),
                     width = images.size(3);
  COHORT_CHECK(present == (channels.defined() ? channels.numel() : channels_),
               "images of {} channels with {} names", present,
               channels.defined() ? channels.numel() : channels_);
  at::Tensor table = channel_embed_->weight;  // [c, D]
  if (channels.defined()) {
    check_channels(channels, channels_);
    table = table.index_select(0, channels);
  }
  const at::Tensor weight = channel_projection_->weight.squeeze(2);
  const auto tokens_of = [&](const at::Tensor& planes) {
    return convolve(planes, weight, channel_projection_->bias).flatten(2).transpose(1, 2);
  };
  if (kept.defined()) {
    // The planes of an image below each other: patches are numbered channel by channel.
    const at::Tensor planes = images.reshape({count, 1, present * height, width});
    const std::int64_t patch = weight.size(2), places = height / patch * (width / patch);
    const at::Tensor of_channel = table.index_select(0, kept.flatten().floor_divide(places));
    at::Tensor seen = image_of(planes, kept, patch);
    if (kept.size(1) == present * places) seen = seen.view({count * present, 1, height, width});
    return (tokens_of(seen).reshape({count, -1, table.size(1)}) +
            of_channel.view({count, -1, table.size(1)}));
  }
  const at::Tensor tokens = tokens_of(images.reshape({count * present, 1, height, width}))
                                .reshape({count, present, -1, table.size(1)});  // [B, c, N, D]
  return (tokens + table.unsqueeze(1)).flatten(1, 2);
}

}  // namespace cohort::nn
