#include "cohort/nn/initialise.h"

#include <cmath>
#include <numbers>
#include <span>
#include <string>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/random.h"
#include "cohort/nn/batch_norm.h"

#include "block.h"

namespace cohort::nn {
namespace {

// In [0, 1), as many as `parameter` has values.
at::Tensor uniform_for(const std::string& name, const at::Tensor& parameter, std::uint64_t seed) {
  const auto hash = static_cast<std::int64_t>(checksum(std::as_bytes(std::span(name))));
  RandomStream stream({.seed = seed, .purpose = Purpose::initialise, .sample = hash});
  at::Tensor uniform = at::empty(parameter.sizes(), at::kFloat);
  stream.fill_uniform(
      std::span(uniform.mutable_data_ptr<float>(), static_cast<std::size_t>(uniform.numel())));
  return uniform;
}

// Inverse of the normal distribution function at u + 2^-25, the middle of the interval that u stands for, so
// that the argument of erfinv stays inside (-1, 1); 2u - 1 + 2^-24 is exact in f32. The cut at ±2 lies 100
// deviations out or more: no value reaches it.
void fill_truncated_normal(at::Tensor& parameter, const at::Tensor& uniform, double deviation) {
  constexpr double kCut = 2.0;
  parameter.copy_(uniform.mul(2.0)
                      .sub_(1.0)
                      .add_(0x1.0p-24)
                      .erfinv_()
                      .mul_(deviation * std::numbers::sqrt2)
                      .clamp_(-kCut, kCut));
}

void fill_kaiming_uniform(at::Tensor& parameter, const at::Tensor& uniform, double bound) {
  parameter.copy_(uniform.mul(2.0 * bound).sub_(bound));
}

}  // namespace

Initialiser::Initialiser(const torch::nn::Module& model, std::uint64_t seed) : seed_(seed) {
  // The model itself apart: named_modules() could only include it once a shared_ptr owns it, after its
  // constructor.
  add(model, "");
  for (const auto& module : model.named_modules(/*name_prefix=*/"", /*include_self=*/false)) {
    add(*module.value(), module.key() + ".");
  }
}

void Initialiser::add(const torch::nn::Module& owner, const std::string& prefix) {
  for (const auto& parameter : owner.named_parameters(/*recurse=*/false)) {
    draws_[prefix + parameter.key()] = draw_of(owner, parameter.key());
  }
}

Initialiser::Draw Initialiser::draw_of(const torch::nn::Module& owner, const std::string& local_name) {
  if (owner.as<torch::nn::LayerNorm>() != nullptr || owner.as<torch::nn::BatchNorm1d>() != nullptr ||
      dynamic_cast<const BatchNorm*>(&owner) != nullptr)
    return {Rule::constant, local_name == "weight" ? 1.0 : 0.0};
  const auto kaiming = [](const at::Tensor& weight) {
    const auto fan_in = c10::multiply_integers(weight.sizes().slice(1));
    return Draw{Rule::kaiming_uniform, 1.0 / std::sqrt(static_cast<double>(fan_in))};
  };
  if (const auto* convolution = owner.as<torch::nn::Conv2d>()) return kaiming(convolution->weight);
  if (const auto* convolution = owner.as<torch::nn::Conv3d>()) return kaiming(convolution->weight);
  if (const auto* scale = owner.as<LayerScale>()) return {Rule::constant, scale->first()};
  if (owner.as<torch::nn::Linear>() != nullptr && local_name == "bias") return {Rule::constant, 0.0};
  if (local_name == "weight_g") return {Rule::constant, 1.0};
  if (local_name == "reg_token") return {Rule::truncated_normal, 1e-6};
  const at::Tensor* parameter = owner.named_parameters(/*recurse=*/false).find(local_name);
  COHORT_CHECK(parameter != nullptr && parameter->dim() >= 2,
               "'{}' of a {}: a vector that no rule knows the first values of", local_name, owner.name());
  return {Rule::truncated_normal, 0.02};
}

void Initialiser::operator()(const std::string& name, at::Tensor& values) const {
  const auto found = draws_.find(name);
  COHORT_CHECK(found != draws_.end(), "no parameter '{}' to initialise", name);
  const c10::NoGradGuard no_grad;
  switch (found->second.rule) {
    case Rule::constant:
      values.fill_(found->second.size);
      return;
    case Rule::kaiming_uniform:
      return fill_kaiming_uniform(values, uniform_for(name, values, seed_), found->second.size);
    case Rule::truncated_normal:
      return fill_truncated_normal(values, uniform_for(name, values, seed_), found->second.size);
  }
}

void initialise(torch::nn::Module& model, std::uint64_t seed) {
  const c10::NoGradGuard no_grad;
  const Initialiser fill(model, seed);
  for (auto& parameter : model.named_parameters()) {
    at::Tensor& values = parameter.value();
    if (values.storage().nbytes() == 0) values.set_data(at::empty(values.sizes(), values.options()));
    fill(parameter.key(), values);
  }
}

}  // namespace cohort::nn
