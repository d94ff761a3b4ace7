#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "cohort/nn/dense_head.h"

namespace cohort::nn {

struct FeaturePyramidShape {
  std::vector<std::int64_t> inputs;  ///< channels of the encoder's maps, fine to coarse
  std::int64_t width = 256;          ///< of the pyramid's levels
  std::int64_t outputs = 0;
};

/// Feature pyramid (Lin et al., arXiv 1612.03144) as a dense head (Kirillov et al., arXiv 1901.02446): each
/// level is a convolution of 1 x 1 of a map, "lateral", and the coarser level at its size (nearest); a
/// convolution of 3 x 3, "output", and ReLU on each; all at the size of the finest one, bilinear, added up; a
/// convolution of 1 x 1, "classifier". An encoder with one map, a vision transformer, has a simple pyramid
/// (Li et al., arXiv 2203.16527, section 3): the map at 4, 2, 1 and ½ of its size, by two transposed
/// convolutions of 2 x 2 with a GELU between them ("quadruple"), one ("double"), as it is, and max pooling.
/// No norms.
class FeaturePyramidHead final : public DenseHead {
 public:
  explicit FeaturePyramidHead(const FeaturePyramidShape& shape);
  at::Tensor forward(const DenseInput& input, const Conditions& conditions, const BlockRunner& run) override;

 private:
  using Modules = std::vector<std::shared_ptr<torch::nn::Module>>;
  std::vector<std::int64_t> add_simple_pyramid(std::int64_t width);
  [[nodiscard]] std::vector<at::Tensor> simple_pyramid(const at::Tensor& map) const;

  Modules quadruple_, double_;  ///< of one map; else none
  Modules lateral_, output_;    ///< of each level
  std::shared_ptr<torch::nn::Module> classifier_;
};

}  // namespace cohort::nn
