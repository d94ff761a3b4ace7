#pragma once
#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/core/random.h"
#include "cohort/nn/vit.h"

namespace cohort::testing {

/// Three blocks of width 24 and no head, on gray images of 8 x 8 pixels in four patches.
inline nn::VitShape small_shape() {
  nn::VitShape shape{};
  shape.channels = 1;
  shape.height = shape.width = 8;
  shape.patch_size = 4;
  shape.embed_dim = 24;
  shape.depth = 3;
  shape.heads = 3;
  shape.mlp_ratio = 2.0;
  return shape;
}

inline nn::VitShape small_shape(std::vector<std::string> keys, nn::Amortization amortization,
                                std::vector<std::int64_t> vocabulary) {
  nn::VitShape shape = small_shape();
  shape.context.keys = std::move(keys);
  shape.context.amortization = amortization;
  shape.vocabulary = std::move(vocabulary);
  return shape;
}

/// Weights large enough that every part of the model matters in the result (0.02 would hide attention in
/// rounding).
inline std::shared_ptr<nn::VisionTransformer> small_model(nn::VitShape shape, double gain = 8.0) {
  auto model = std::make_shared<nn::VisionTransformer>(std::move(shape), /*seed=*/7);
  const c10::NoGradGuard no_grad;
  for (const auto& parameter : model->named_parameters()) {
    if (parameter.key().find("norm") == std::string::npos) parameter.value().mul_(gain);
  }
  return model;
}

/// Standard normal values [sizes], the same for the same key.
inline at::Tensor normal_values(std::vector<std::int64_t> sizes, std::int64_t key = 0) {
  RandomStream stream({.seed = 3, .purpose = Purpose::synthetic, .sample = key});
  at::Tensor values = at::empty(sizes, at::kFloat);
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    values.mutable_data_ptr<float>()[i] = static_cast<float>(stream.normal());
  }
  return values;
}

/// What a pass makes beside maps.
constexpr unsigned kAll = nn::Encoder::pooled | nn::Encoder::tokens | nn::Encoder::logits;

inline nn::Encoder::Output encode(nn::Encoder& model, const at::Tensor& images,
                                  const nn::Conditions& conditions, unsigned wanted = kAll) {
  return model.encode(images, conditions, wanted);
}

inline at::Tensor indices(std::vector<std::int64_t> values) {
  return at::tensor(values, at::kLong);
}

/// Gradients by parameter name; zeros where none arrived.
inline std::map<std::string, at::Tensor> gradients(const nn::VisionTransformer& model) {
  std::map<std::string, at::Tensor> found;
  for (const auto& parameter : model.named_parameters()) {
    const at::Tensor& gradient = parameter.value().grad();
    found[parameter.key()] = gradient.defined() ? gradient.clone() : at::zeros_like(parameter.value());
  }
  return found;
}

/// Images of two groups and contexts in turns, for `keys` keys.
inline nn::Conditions conditions_for(std::int64_t images, std::int64_t keys) {
  nn::Conditions conditions;
  conditions.group = at::arange(images) % 2;
  conditions.context =
      at::stack(std::vector<at::Tensor>(static_cast<std::size_t>(std::max<std::int64_t>(keys, 1)),
                                        at::arange(images) % 2),
                1);
  conditions.sample = at::arange(images) + 100;
  return conditions;
}

}  // namespace cohort::testing
