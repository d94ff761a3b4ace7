#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include <torch/nn/module.h>

#include "cohort/nn/batch_norm.h"

namespace cohort::nn {

/// Sizes of a perceptron behind an encoder.
struct ProjectionHeadShape {
  std::int64_t width = 0, hidden = 0, outputs = 0;
  std::int64_t layers = 2;  ///< linear ones, of which all but the last are hidden
  bool bias = true;         ///< of linear layers
  bool batch_norm = true;   ///< behind every hidden linear layer
  NormScope scope = NormScope::group;
};

/// Projector or predictor of methods that learn from two views: Linear, BatchNorm, ReLU, …, Linear (SimCLR,
/// arXiv 2002.05709, section 2.1; BYOL, arXiv 2006.07733, section 3.2; Barlow Twins, arXiv 2103.03230,
/// section 2.2). Parameters have the names of a torch.nn.Sequential: 0, 1, 3 of two layers, 0 and 2 without
/// batch normalisation. Values are uninitialised; running statistics begin at mean 0 and variance 1.
class ProjectionHead final : public torch::nn::Module {
 public:
  explicit ProjectionHead(const ProjectionHeadShape& shape);
  /// [B, width] -> [B, outputs]. Collective in NormScope::all, forward and backward. Errors: BatchNorm.
  at::Tensor forward(const at::Tensor& features, const Conditions& conditions);

 private:
  std::vector<std::shared_ptr<torch::nn::Module>> linears_;
  std::vector<std::shared_ptr<BatchNorm>> norms_;  // none, or one for each linear layer but the last
};

}  // namespace cohort::nn
