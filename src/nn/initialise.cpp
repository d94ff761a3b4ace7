#include "initialise.h"

#include <cmath>
#include <numbers>
#include <span>
#include <string>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "cohort/core/checksum.h"
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
// that the argument of erfinv stays inside (-1, 1); 2u - 1 + 2^-24 is exact in f32. The cut at ±2 lies 100
// deviations out: no value reaches it.
void fill_truncated_normal(at::Tensor& parameter, const at::Tensor& uniform) {
  constexpr double kDeviation = 0.02, kCut = 2.0;
  parameter.copy_(uniform.mul(2.0)
                      .sub_(1.0)
                      .add_(0x1.0p-24)
                      .erfinv_()
                      .mul_(kDeviation * std::numbers::sqrt2)
                      .clamp_(-kCut, kCut));
}

void fill_kaiming_uniform(at::Tensor& parameter, const at::Tensor& uniform, std::int64_t fan_in) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
  parameter.copy_(uniform.mul(2.0 * bound).sub_(bound));
}

void initialise_parameter(const torch::nn::Module& owner, const std::string& local_name, at::Tensor parameter,
                          const std::string& name, std::uint64_t seed) {
  if (owner.as<torch::nn::LayerNorm>() != nullptr) {
    parameter.fill_(local_name == "weight" ? 1.0 : 0.0);
  } else if (const auto* convolution = owner.as<torch::nn::Conv2d>()) {
    fill_kaiming_uniform(parameter, uniform_for(name, parameter, seed), convolution->weight[0].numel());
  } else if (owner.as<torch::nn::Linear>() != nullptr && local_name == "bias") {
    parameter.zero_();
  } else {
    fill_truncated_normal(parameter, uniform_for(name, parameter, seed));
  }
}

}  // namespace

void initialise(torch::nn::Module& model, std::uint64_t seed) {
  const c10::NoGradGuard no_grad;
  const auto draw_all = [&](const torch::nn::Module& owner, const std::string& prefix) {
    for (const auto& parameter : owner.named_parameters(/*recurse=*/false)) {
      initialise_parameter(owner, parameter.key(), parameter.value(), prefix + parameter.key(), seed);
    }
  };
  // The model itself apart: named_modules() could only include it once a shared_ptr owns it, after its
  // constructor.
  draw_all(model, "");
  for (const auto& module : model.named_modules(/*name_prefix=*/"", /*include_self=*/false)) {
    draw_all(*module.value(), module.key() + ".");
  }
}

}  // namespace cohort::nn
