#pragma once
#include <cstdint>

#include <torch/nn/module.h>

namespace cohort::nn {

/// Draws every parameter of `model`, keyed by (seed, Purpose::initialise, its full name):
///  - LayerNorm: weight 1, bias 0;
///  - Conv2d: uniform in ±1/sqrt(fan_in), weight and bias (PyTorch's default: Kaiming uniform with a =
///  sqrt(5));
///  - biases of Linear: 0;
///  - all others (Linear, tokens, position embedding, dictionary): normal with deviation 0.02, cut at ±2.
void initialise(torch::nn::Module& model, std::uint64_t seed);

}  // namespace cohort::nn
