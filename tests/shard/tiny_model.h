#pragma once
#include <algorithm>
#include <memory>
#include <vector>

#include <ATen/ATen.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "cohort/nn/unit_model.h"

namespace cohort::shard {

struct TinyBlock : torch::nn::Module {
  TinyBlock() {
    linear = register_module("linear", torch::nn::Linear(8, 8));
    norm = register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({8})));
    unused = register_parameter("unused", at::ones({3, 5}));
  }
  at::Tensor forward(const at::Tensor& x) { return x + at::tanh(linear(norm(x))); }

  torch::nn::Linear linear{nullptr};
  torch::nn::LayerNorm norm{nullptr};
  at::Tensor unused;
};

/// Three units and a root with embedding, head, a frozen parameter, a parameter used on request only and a
/// buffer.
struct TinyModel : nn::UnitModel {
  explicit TinyModel(double phase) {
    embed = register_module("embed", torch::nn::Linear(6, 8));
    for (int i = 0; i < 3; ++i)
      blocks.push_back(register_module("block" + std::to_string(i), std::make_shared<TinyBlock>()));
    for (const auto& block : blocks) add_unit({block});
    head = register_module("head", torch::nn::Linear(8, 3));
    frozen = register_parameter("frozen", at::zeros({8}), false);
    shift = register_parameter("shift", at::zeros({8}));
    count = register_buffer("count", at::zeros({2}, at::kLong));
    fill(phase);
  }

  // The same numbers for the same phase, different ones for another.
  void fill(double phase) {
    const at::NoGradGuard no_grad;
    double offset = phase;
    for (at::Tensor& parameter : parameters()) {
      parameter.copy_(at::sin(at::arange(parameter.numel()) * 1.7 + offset).view(parameter.sizes()) * 0.4);
      offset += 0.9;
    }
    count.fill_(static_cast<std::int64_t>(phase * 10));
  }

  /// A sum over samples, so that losses of parts add up to the loss of the whole.
  at::Tensor loss(const at::Tensor& images) {
    begin();
    at::Tensor x = embed(images) * (1.0 + frozen);
    if (use_shift) x = x + shift;
    for (std::size_t step = 0; step < blocks.size(); ++step) {
      const std::size_t i = backwards ? blocks.size() - 1 - step : step;
      x = run(i, x, [this, i](const at::Tensor& input) { return blocks[i]->forward(input); });
    }
    return at::square(head(x)).sum();
  }

  int own_layer_of(const std::string& name) const override {
    if (name.starts_with("block")) return name[5] - '0' + 1;
    return name.starts_with("head") ? 4 : 0;
  }

  torch::nn::Linear embed{nullptr}, head{nullptr};
  std::vector<std::shared_ptr<TinyBlock>> blocks;
  at::Tensor frozen, shift, count;
  bool use_shift = false, backwards = false;
};

/// Four samples [4, 6], others for another number.
inline at::Tensor samples(int number) {
  return at::sin(at::arange(24) * (number + 1.3)).view({4, 6});
}

}  // namespace cohort::shard
