#include "cohort/nn/initialise.h"

#include <cmath>
#include <numbers>
#include <span>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/random.h"

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
// that the argument of erfinv stays inside (-1, 1); 2u - 1 + 2^-24 is exact in f32.
at::Tensor normal_of(at::Tensor uniform, double deviation) {
  return uniform.mul_(2.0).sub_(1.0).add_(0x1.0p-24).erfinv_().mul_(deviation * std::numbers::sqrt2);
}

Draw kaiming_uniform(const at::Tensor& weight) {
  const auto fan_in = c10::multiply_integers(weight.sizes().slice(1));
  return draw::uniform(1.0 / std::sqrt(static_cast<double>(fan_in)));
}

Draw draw_by_type(const torch::nn::Module& owner, const std::string& name, const at::Tensor& parameter) {
  if (owner.as<torch::nn::LayerNorm>() != nullptr || owner.as<torch::nn::BatchNorm1d>() != nullptr)
    return draw::constant(name == "weight" ? 1.0 : 0.0);
  if (const auto* convolution = owner.as<torch::nn::Conv2d>()) return kaiming_uniform(convolution->weight);
  if (const auto* convolution = owner.as<torch::nn::Conv3d>()) return kaiming_uniform(convolution->weight);
  if (const auto* convolution = owner.as<torch::nn::ConvTranspose2d>())
    return kaiming_uniform(convolution->weight);
  if (owner.as<torch::nn::Linear>() != nullptr && name == "bias") return draw::constant(0.0);
  if (name == "reg_token") return draw::truncated_normal(1e-6);
  COHORT_CHECK(parameter.dim() >= 2, "'{}' of a {}: a vector that no rule knows the first values of", name,
               owner.name());
  return draw::truncated_normal(0.02);
}

}  // namespace

namespace draw {

Draw constant(double value) {
  return [value](at::Tensor& values, const auto& /*uniform*/) { values.fill_(value); };
}

Draw uniform(double bound) {
  return [bound](at::Tensor& values, const auto& uniform) {
    values.copy_(uniform().mul_(2.0 * bound).sub_(bound));
  };
}

Draw xavier_uniform() {
  return [](at::Tensor& values, const auto& uniform) {
    COHORT_CHECK(values.dim() >= 2, "a vector is no matrix");
    const std::int64_t rows = values.size(0), columns = values.numel() / rows;
    const double bound = std::sqrt(6.0 / static_cast<double>(rows + columns));
    values.copy_(uniform().mul_(2.0 * bound).sub_(bound));
  };
}

Draw normal(double deviation) {
  return
      [deviation](at::Tensor& values, const auto& uniform) { values.copy_(normal_of(uniform(), deviation)); };
}

Draw truncated_normal(double deviation) {
  return [deviation](at::Tensor& values, const auto& uniform) {
    constexpr double kCut = 2.0;
    values.copy_(normal_of(uniform(), deviation).clamp_(-kCut, kCut));
  };
}

Draw given(std::function<at::Tensor()> make) {
  return [make = std::move(make)](at::Tensor& out, const auto& /*uniform*/) {
    const at::Tensor values = make();
    COHORT_CHECK(values.sizes() == out.sizes(), "values of another shape than their parameter's");
    out.copy_(values);
  };
}

}  // namespace draw

Initialiser::Initialiser(const torch::nn::Module& model, std::uint64_t seed) : seed_(seed) {
  std::vector<Asked> around;
  add(model, "", around);
}

// Children, not modules(): that could only include the model itself once a shared_ptr owns it, after its
// constructor.
void Initialiser::add(const torch::nn::Module& module, const std::string& prefix,
                      std::vector<Asked>& around) {
  const auto* initialised = dynamic_cast<const Initialised*>(&module);
  if (initialised != nullptr) around.push_back({initialised, prefix.size()});
  for (const auto& parameter : module.named_parameters(/*recurse=*/false)) {
    const std::string name = prefix + parameter.key();
    std::optional<Draw> stated;
    for (const Asked& asked : around) {
      if (!stated) stated = asked.module->first_values_of(name.substr(asked.prefix), module);
    }
    draws_[name] = stated ? std::move(*stated) : draw_by_type(module, parameter.key(), parameter.value());
  }
  for (const auto& child : module.named_children()) add(*child.value(), prefix + child.key() + ".", around);
  if (initialised != nullptr) around.pop_back();
}

void Initialiser::operator()(const std::string& name, at::Tensor& values) const {
  const auto found = draws_.find(name);
  COHORT_CHECK(found != draws_.end(), "no parameter '{}' to initialise", name);
  const c10::NoGradGuard no_grad;
  found->second(values, [&] { return uniform_for(name, values, seed_); });
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
