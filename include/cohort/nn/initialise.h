#pragma once
#include <cstdint>
#include <string>
#include <unordered_map>

#include <torch/nn/module.h>

namespace cohort::nn {

/// First values of parameters, keyed by (seed, Purpose::initialise, the parameter's full name):
///  - LayerNorm, BatchNorm: weight 1, bias 0; magnitudes of a weight-normalised layer (weight_g): 1;
///  - factors of residual branches (layer_scale): their first value; registers: as below, with deviation
///  1e-6;
///  - Conv2d, Conv3d: uniform in ±1/sqrt(fan_in), weight and bias (PyTorch's default: Kaiming uniform with a
///  = sqrt(5));
///  - biases of Linear: 0;
///  - all others (Linear, tokens, position embedding, dictionary): normal with deviation 0.02, cut at ±2; a
///  vector among them is a Bug, since it would rather be a norm's.
/// Knows the parameters of the model that it was made for, not the model itself.
class Initialiser {
 public:
  Initialiser(const torch::nn::Module& model, std::uint64_t seed);
  /// Fills `values` (f32, of the parameter's shape).
  void operator()(const std::string& name, at::Tensor& values) const;

 private:
  enum class Rule { constant, kaiming_uniform, truncated_normal };
  struct Draw {
    Rule rule = Rule::truncated_normal;
    double size = 0.02;  ///< the value, the bound, the deviation
  };
  void add(const torch::nn::Module& owner, const std::string& prefix);
  static Draw draw_of(const torch::nn::Module& owner, const std::string& local_name);

  std::uint64_t seed_;
  std::unordered_map<std::string, Draw> draws_;
};

/// Fills every parameter of `model`, also of one whose values were discarded.
void initialise(torch::nn::Module& model, std::uint64_t seed);

}  // namespace cohort::nn
