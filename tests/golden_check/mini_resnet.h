#pragma once
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/nn/encoder.h"

#include "comparison.h"
#include "models.h"

namespace cohort::golden_check {

/// The file's residual network, whose stages have widths of their own: in PyTorch's operations, in training.
class MiniResNet {
 public:
  MiniResNet(Comparison& file, const std::string& prefix) {
    for (const std::string& name : file.names("param." + prefix))
      parameters_.emplace(name, leaf(file.float_input("param." + prefix + name)));
  }

  struct Features {
    std::vector<nn::FeatureMap> maps;
    at::Tensor stem;
  };
  [[nodiscard]] Features forward(const at::Tensor& images) const {
    Features made;
    made.stem = at::relu(norm("bn1", convolution("conv1", images, 2, 3)));
    at::Tensor x = at::max_pool2d(made.stem, 3, 2, 1);
    for (const char* stage : {"layer1", "layer2", "layer3", "layer4"}) {
      const bool is_first = made.maps.empty();
      x = bottleneck(std::string(stage) + ".0.", x, is_first ? 1 : 2);
      made.maps.push_back({x, is_first ? 4 : 2 * made.maps.back().stride});
    }
    return made;
  }

  void compare(Comparison& file, const std::string& prefix, Tolerance tolerance) const {
    for (const std::string& name : file.names(prefix))
      file.tensor(prefix + name, parameters_.at(name).grad(), tolerance);
  }

 private:
  [[nodiscard]] at::Tensor convolution(const std::string& name, const at::Tensor& x, std::int64_t stride,
                                       std::int64_t padding) const {
    return at::conv2d(x, parameters_.at(name + ".weight"), {}, stride, padding);
  }
  [[nodiscard]] at::Tensor norm(const std::string& name, const at::Tensor& x) const {
    return at::batch_norm(x, parameters_.at(name + ".weight"), parameters_.at(name + ".bias"), {}, {},
                          /*training=*/true, 0.1, 1e-5, /*cudnn_enabled=*/false);
  }
  [[nodiscard]] at::Tensor bottleneck(const std::string& block, const at::Tensor& x,
                                      std::int64_t stride) const {
    at::Tensor y = at::relu(norm(block + "bn1", convolution(block + "conv1", x, 1, 0)));
    y = at::relu(norm(block + "bn2", convolution(block + "conv2", y, stride, 1)));
    y = norm(block + "bn3", convolution(block + "conv3", y, 1, 0));
    return at::relu(y + norm(block + "downsample.1", convolution(block + "downsample.0", x, stride, 0)));
  }

  std::map<std::string, at::Tensor> parameters_;
};

}  // namespace cohort::golden_check
