#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "cohort/nn/context.h"
#include "cohort/nn/initialise.h"

namespace cohort::nn {

struct BlockShape {
  std::int64_t width, heads, hidden;
  double dropout, drop_path;
  double layer_scale;  ///< 0: none
  bool qkv_bias = true;
  double epsilon = 1e-6;  ///< of the norms
};

/// Multi-head self-attention, softmax(q k^T / sqrt(D / heads)) v. `tokens` [B, T, D] -> [B, kept, D], the
/// first `kept` tokens, before dropout. Rows of qkv.weight [3D, D] are ordered as in timm: all of q, all of
/// k, all of v, heads contiguous in each.
class Attention final : public torch::nn::Module {
 public:
  Attention(std::int64_t width, std::int64_t heads, bool qkv_bias);
  at::Tensor forward(const at::Tensor& tokens, std::int64_t kept);

  /// All [B, heads, T, D / heads].
  struct Projections {
    at::Tensor query, key, value;
  };
  Projections project(const at::Tensor& tokens);
  /// `mixed` values [B, heads, T, D / heads] -> [B, T, D].
  at::Tensor join(const at::Tensor& mixed);

 private:
  std::int64_t heads_;
  torch::nn::Linear qkv_, proj_;
};

/// Two linear layers with an exact (erf) GELU between them; dropout after both.
class Mlp final : public torch::nn::Module {
 public:
  Mlp(std::int64_t width, std::int64_t hidden, double dropout);
  at::Tensor forward(const at::Tensor& tokens, const Conditions& conditions, std::uint32_t layer);

 private:
  double dropout_;
  torch::nn::Linear fc1_, fc2_;
};

/// Factors of a residual branch's channels, gamma [D] (Touvron et al., arXiv 2103.17239), all `first` at
/// first.
class LayerScale final : public torch::nn::Module, public Initialised {
 public:
  LayerScale(std::int64_t width, double first);
  at::Tensor forward(const at::Tensor& branch) { return branch * gamma_; }
  [[nodiscard]] std::optional<Draw> first_values_of(const std::string& name,
                                                    const torch::nn::Module& owner) const override;

 private:
  double first_;
  at::Tensor gamma_;
};

/// Pre-norm transformer block: x += drop_path(attention(norm1(x))), x += drop_path(mlp(norm2(x))),
/// each branch scaled by ls1 and ls2 if there is a layer_scale.
class Block final : public torch::nn::Module {
 public:
  /// `index` of the block in the model: part of the keys of its random numbers.
  Block(const BlockShape& shape, std::int64_t index);
  /// [B, T, D] -> [B, kept, D]: the first `kept` tokens, for which all have to be known.
  at::Tensor forward(const at::Tensor& tokens, const Conditions& conditions, std::int64_t kept);

  // The steps of forward().
  at::Tensor normalise(const at::Tensor& tokens) { return norm1_->forward(tokens); }
  Attention& attention() { return *attention_; }
  /// `attended`: what attention made of the normalised tokens.
  at::Tensor finish(const at::Tensor& tokens, const at::Tensor& attended, const Conditions& conditions);

 private:
  BlockShape shape_;
  std::uint32_t index_;
  torch::nn::LayerNorm norm1_, norm2_;
  std::shared_ptr<Attention> attention_;
  std::shared_ptr<Mlp> mlp_;
  std::shared_ptr<LayerScale> scale1_, scale2_;  ///< null without layer_scale
};

/// Over the last dimension.
torch::nn::LayerNorm make_layer_norm(std::int64_t width, double epsilon = 1e-6);

}  // namespace cohort::nn
