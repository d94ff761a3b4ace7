#include "block.h"

#include <memory>

#include <ATen/ATen.h>
#include <ATen/SDPBackend.h>

#include "cohort/nn/attention_backend.h"
#include "cohort/nn/dropout.h"

#include "attention.h"
#include "gelu.h"
#include "layer_norm.h"
#include "linear.h"

namespace cohort::nn {
namespace {

// Places of dropout in a model: 0 after the position embedding, then three in each block.
constexpr std::uint32_t kDropoutsPerBlock = 3, kBranchesPerBlock = 2;

std::uint32_t first_dropout(std::uint32_t block) {
  return 1 + kDropoutsPerBlock * block;
}

at::Tensor first_tokens(const at::Tensor& tokens, std::int64_t count) {
  return count == tokens.size(1) ? tokens : tokens.narrow(1, 0, count).contiguous();
}

}  // namespace

std::string_view attention_backend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  switch (static_cast<at::SDPBackend>(at::_fused_sdp_choice(query, key, value))) {
    case at::SDPBackend::flash_attention:
      return "flash";
    case at::SDPBackend::efficient_attention:
      return "efficient";
    case at::SDPBackend::cudnn_attention:
      return "cudnn";
    case at::SDPBackend::math:
      return "math";
    default:
      return "unknown";
  }
}

torch::nn::LayerNorm make_layer_norm(std::int64_t width, double epsilon) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}).eps(epsilon));
}

Attention::Attention(std::int64_t width, std::int64_t heads, bool qkv_bias)
    : heads_(heads),
      qkv_(register_module("qkv",
                           torch::nn::Linear(torch::nn::LinearOptions(width, 3 * width).bias(qkv_bias)))),
      proj_(register_module("proj", torch::nn::Linear(width, width))) {}

at::Tensor Attention::forward(const at::Tensor& tokens, std::int64_t kept) {
  return linear(*proj_, attention(linear(*qkv_, tokens), heads_, kept));
}

Attention::Projections Attention::project(const at::Tensor& tokens) {
  const std::int64_t images = tokens.size(0), count = tokens.size(1), width = tokens.size(2);
  const at::Tensor qkv = linear(*qkv_, tokens)
                             .view({images, count, 3, heads_, width / heads_})
                             .permute({2, 0, 3, 1, 4});  // [3, B, heads, T, d]
  return {qkv[0], qkv[1], qkv[2]};
}

at::Tensor Attention::join(const at::Tensor& mixed) {
  const std::int64_t images = mixed.size(0), count = mixed.size(2);
  return linear(*proj_, mixed.transpose(1, 2).reshape({images, count, heads_ * mixed.size(3)}));
}

Mlp::Mlp(std::int64_t width, std::int64_t hidden, double dropout)
    : dropout_(dropout),
      fc1_(register_module("fc1", torch::nn::Linear(width, hidden))),
      fc2_(register_module("fc2", torch::nn::Linear(hidden, width))) {}

at::Tensor Mlp::forward(const at::Tensor& tokens, const Conditions& conditions, std::uint32_t layer) {
  const at::Tensor hidden = dropout(exact_gelu(linear(*fc1_, tokens)), dropout_, conditions, layer);
  return dropout(linear(*fc2_, hidden), dropout_, conditions, layer + 1);
}

LayerScale::LayerScale(std::int64_t width, double first)
    : first_(first), gamma_(register_parameter("gamma", at::full({width}, first))) {}

std::optional<Draw> LayerScale::first_values_of(const std::string& /*name*/,
                                                const torch::nn::Module& /*owner*/) const {
  return draw::constant(first_);
}

Block::Block(const BlockShape& shape, std::int64_t index)
    : shape_(shape),
      index_(static_cast<std::uint32_t>(index)),
      norm1_(register_module("norm1", make_layer_norm(shape.width, shape.epsilon))),
      norm2_(nullptr),
      attention_(
          register_module("attn", std::make_shared<Attention>(shape.width, shape.heads, shape.qkv_bias))) {
  norm2_ = register_module("norm2", make_layer_norm(shape.width, shape.epsilon));
  mlp_ = register_module("mlp", std::make_shared<Mlp>(shape.width, shape.hidden, shape.dropout));
  if (shape.layer_scale == 0.0) return;
  scale1_ = register_module("ls1", std::make_shared<LayerScale>(shape.width, shape.layer_scale));
  scale2_ = register_module("ls2", std::make_shared<LayerScale>(shape.width, shape.layer_scale));
}

at::Tensor Block::forward(const at::Tensor& tokens, const Conditions& conditions, std::int64_t kept) {
  const NormalisedSum in = add_and_normalise(tokens, {}, *norm1_);
  return finish(first_tokens(in.sum, kept), attention_->forward(in.normalised, kept), conditions);
}

at::Tensor Block::finish(const at::Tensor& tokens, const at::Tensor& attended, const Conditions& conditions) {
  const std::uint32_t layer = first_dropout(index_), branch = kBranchesPerBlock * index_;
  at::Tensor added = dropout(attended, shape_.dropout, conditions, layer);
  if (scale1_ != nullptr) added = scale1_->forward(added);
  const NormalisedSum middle =
      add_and_normalise(tokens, drop_path(added, shape_.drop_path, conditions, branch), *norm2_);
  at::Tensor transformed = mlp_->forward(middle.normalised, conditions, layer + 1);
  if (scale2_ != nullptr) transformed = scale2_->forward(transformed);
  return add_branch(middle.sum, drop_path(transformed, shape_.drop_path, conditions, branch + 1));
}

}  // namespace cohort::nn
