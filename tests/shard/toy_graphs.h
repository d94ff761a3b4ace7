#pragma once
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <torch/nn/modules/linear.h>

#include "cohort/nn/unit_model.h"

namespace cohort::shard {

constexpr std::int64_t kToyWidth = 6;

struct ToyLayer : torch::nn::Module {
  explicit ToyLayer(std::int64_t inputs)
      : linear(register_module("linear", torch::nn::Linear(inputs * kToyWidth, kToyWidth))) {}
  at::Tensor forward(const at::Tensor& x) { return at::tanh(linear(x)); }
  torch::nn::Linear linear;
};

/// A model whose loss is a graph of units; the same numbers on every rank.
struct ToyGraph : nn::UnitModel {
  virtual at::Tensor loss(const at::Tensor& images) = 0;  // [B, 6]; a sum over samples

  std::shared_ptr<ToyLayer> add_layer(const std::string& name, std::int64_t inputs = 1) {
    auto layer = register_module(name, std::make_shared<ToyLayer>(inputs));
    add_unit(std::vector<std::shared_ptr<torch::nn::Module>>(1, layer));
    return layer;
  }
  // Values that depend on names alone.
  void fill() {
    const at::NoGradGuard no_grad;
    for (const auto& item : named_parameters()) {
      double phase = 0.0;
      for (const char letter : item.key()) phase = std::fmod(phase * 1.7 + letter, 7.0);
      item.value().copy_(at::sin(at::arange(item.value().numel()) * 1.7 + phase).view(item.value().sizes()) *
                         0.4);
    }
  }
};

/// Down and up again: what comes up takes what went down, over everything in between.
struct ToyUNet : ToyGraph {
  ToyUNet() {
    for (const char* name : {"down0", "down1", "bottom"}) layers.push_back(add_layer(name));
    for (const char* name : {"up1", "up0"}) layers.push_back(add_layer(name, 2));
    head = register_module("head", torch::nn::Linear(kToyWidth, 2));
    fill();
  }
  at::Tensor call(std::size_t unit, const nn::Tensors& inputs) {
    return run(unit, inputs, [layer = layers[unit]](const nn::Tensors& of) {
      return nn::Tensors{layer->forward(at::cat(of, 1))};
    })[0];
  }
  at::Tensor loss(const at::Tensor& images) override {
    begin();
    const at::Tensor down0 = call(0, {images}), down1 = call(1, {down0}), bottom = call(2, {down1});
    return at::square(head(call(4, {call(3, {bottom, down1}), down0}))).sum();
  }
  std::vector<std::shared_ptr<ToyLayer>> layers;
  torch::nn::Linear head{nullptr};
};

struct ToyTower : ToyGraph {
  explicit ToyTower(int depth) {
    for (int i = 0; i < depth; ++i) layers.push_back(add_layer("layer" + std::to_string(i)));
    scale = register_parameter("scale", at::ones({kToyWidth}));
  }
  at::Tensor forward(const at::Tensor& x) {
    begin();
    at::Tensor y = x * scale;
    for (std::size_t i = 0; i < layers.size(); ++i)
      y = run(i, y, [layer = layers[i]](const at::Tensor& of) { return layer->forward(of); });
    return y;
  }
  at::Tensor loss(const at::Tensor& images) override { return forward(images).sum(); }
  std::vector<std::shared_ptr<ToyLayer>> layers;
  at::Tensor scale;
};

/// Two towers of different depth, the second of which runs first.
struct ToyTwoTowers : ToyGraph {
  ToyTwoTowers() {
    image = add_tower("image", std::make_shared<ToyTower>(3));
    text = add_tower("text", std::make_shared<ToyTower>(2));
    fill();
  }
  at::Tensor loss(const at::Tensor& images) override {
    const at::Tensor of_text = text->forward(images.flip(1)), of_image = image->forward(images);
    return at::square(of_image * of_text).sum();
  }
  std::shared_ptr<ToyTower> image, text;
};

/// One encoder for two images, and a decoder whose units have two inputs and two outputs, take a tensor that
/// is not there, hand an input on as it is, and make one that nobody uses; its first one runs twice in a row.
struct ToyEncoderDecoder : ToyGraph {
  ToyEncoderDecoder() {
    for (const char* name : {"decoder0", "decoder1"}) layers.push_back(add_layer(name, 2));
    encoder = add_tower("encoder", std::make_shared<ToyTower>(2));
    fill();
  }
  nn::Tensors call(std::size_t unit, const nn::Tensors& inputs) {
    return run(unit, inputs, [layer = layers[unit]](const nn::Tensors& of) {
      const at::Tensor mixed = layer->forward(at::cat({of[0], of[1]}, 1));
      return nn::Tensors{mixed, of[1] * mixed, of[1], of[2], of[0].sin()};
    });
  }
  at::Tensor loss(const at::Tensor& images) override {
    const at::Tensor first = encoder->forward(images), second = encoder->forward(images.flip(0));
    const nn::Tensors once = call(0, {first, second, at::Tensor()});
    const nn::Tensors twice = call(0, {once[1], once[2], once[3]});
    const nn::Tensors out = call(1, {twice[0], once[0] + twice[2], at::Tensor()});
    return at::square(out[0] + out[1]).sum() + at::square(out[2]).sum();
  }
  std::vector<std::shared_ptr<ToyLayer>> layers;
  std::shared_ptr<ToyTower> encoder;
};

/// A unit that runs only where `branches` says so, as no model should: graphs then differ between ranks.
struct ToyBranch : ToyGraph {
  ToyBranch() {
    for (const char* name : {"always", "sometimes"}) layers.push_back(add_layer(name));
    fill();
  }
  at::Tensor loss(const at::Tensor& images) override {
    begin();
    at::Tensor x = images;
    for (std::size_t i = 0; i < (branches ? 2U : 1U); ++i)
      x = run(i, x, [layer = layers[i]](const at::Tensor& of) { return layer->forward(of); });
    return at::square(x).sum();
  }
  std::vector<std::shared_ptr<ToyLayer>> layers;
  bool branches = true;
};

}  // namespace cohort::shard
