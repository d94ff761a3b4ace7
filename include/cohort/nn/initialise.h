#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

namespace cohort::nn {

/// Makes the first values of a parameter: fills `values`, f32 of its shape, on the CPU. `uniform()`: as many
/// numbers in [0, 1), keyed by (seed, Purpose::initialise, the parameter's full name).
using Draw = std::function<void(at::Tensor& values, const std::function<at::Tensor()>& uniform)>;

namespace draw {
Draw constant(double value);
/// In ±bound.
Draw uniform(double bound);
/// In ±sqrt(6 / (rows + columns)) of the parameter seen as a matrix [out, all the rest] (Glorot and Bengio,
/// 2010); of a convolution as MAE's reference has it.
Draw xavier_uniform();
Draw normal(double deviation);
/// Cut at ±2, whatever the deviation, as timm does.
Draw truncated_normal(double deviation);
/// What `make` returns, of the parameter's shape; called when it is needed, so that nothing is kept.
Draw given(std::function<at::Tensor()> make);
}  // namespace draw

/// A module that says how parameters inside it begin, those of its modules included.
class Initialised {
 public:
  Initialised() = default;
  Initialised(const Initialised&) = default;
  Initialised& operator=(const Initialised&) = default;
  virtual ~Initialised() = default;
  /// `name`: relative to this module ("mask_token", "blocks.0.mlp.fc1.weight"); `owner`: the module that
  /// registered it (a torch::nn::Linear, this module). Nothing: modules inside are asked next.
  [[nodiscard]] virtual std::optional<Draw> first_values_of(const std::string& name,
                                                            const torch::nn::Module& owner) const = 0;
};

/// First values of parameters. Modules that are Initialised say them, the outermost one that knows a
/// parameter; otherwise
///  - LayerNorm, BatchNorm1d: weight 1, bias 0;
///  - Conv2d, Conv3d, ConvTranspose2d: uniform in ±1/sqrt(fan_in), weight and bias (PyTorch's default:
///  Kaiming uniform with a = sqrt(5); of a transposed one fan_in counts its outputs, as PyTorch has it);
///  - biases of Linear: 0; registers: as below, with deviation 1e-6;
///  - all others (Linear, tokens, position embedding, dictionary): normal with deviation 0.02, cut at ±2; a
///  vector among them is a Bug, since it would rather be a norm's.
/// Knows the parameters of the model that it was made for, not the model itself.
class Initialiser {
 public:
  Initialiser(const torch::nn::Module& model, std::uint64_t seed);
  /// Fills `values` (f32, of the parameter's shape).
  void operator()(const std::string& name, at::Tensor& values) const;

 private:
  struct Asked {
    const Initialised* module;
    std::size_t prefix;  ///< length of its name and a dot
  };
  void add(const torch::nn::Module& module, const std::string& prefix, std::vector<Asked>& around);

  std::uint64_t seed_;
  std::unordered_map<std::string, Draw> draws_;
};

/// Fills every parameter of `model`, also of one whose values were discarded.
void initialise(torch::nn::Module& model, std::uint64_t seed);

}  // namespace cohort::nn
