#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <torch/nn/module.h>

#include "cohort/comm/communicator.h"
#include "cohort/nn/initialise.h"

namespace cohort::nn {

struct DinoHeadShape {
  std::int64_t width = 0;  ///< of the features
  std::int64_t hidden = 2048, bottleneck = 256, prototypes = 65536;
  bool batch_norm = false, norm_last_layer = true;
};

/// Projection head of DINO (arXiv 2104.14294, section 3.1 and appendix C): Linear-GELU-Linear-GELU-Linear,
/// L2 normalisation, then prototypes: logits = x W^T with rows W_k = g_k v_k / |v_k|. With norm_last_layer
/// every g_k is 1 and no parameter. With batch_norm each hidden layer is normalised before its GELU by the
/// statistics of the batch at hand, over all ranks; running statistics, which nothing would read, are not
/// kept. Parameter names are those of the reference implementation: mlp.0, mlp.2, mlp.4 (with batch_norm
/// mlp.0, mlp.1, mlp.3, mlp.4, mlp.6) and last_layer.weight_v, weight_g. Values are uninitialised.
class DinoHead final : public torch::nn::Module, public Initialised {
 public:
  explicit DinoHead(const DinoHeadShape& shape);
  /// [R, width] -> [R, prototypes] f32 (fp64 of fp64). With batch_norm collective over `ranks`, forward and
  /// backward; null: this rank alone.
  at::Tensor forward(const at::Tensor& features, comm::Communicator* ranks);
  [[nodiscard]] const DinoHeadShape& shape() const noexcept { return shape_; }
  /// weight_g 1.
  [[nodiscard]] std::optional<Draw> first_values_of(const std::string& name,
                                                    const torch::nn::Module& owner) const override;

 private:
  DinoHeadShape shape_;
  at::Tensor hidden(const at::Tensor& features, comm::Communicator* ranks);

  std::vector<std::shared_ptr<torch::nn::Module>> linears_, norms_;
  at::Tensor weight_v_, weight_g_;  ///< [K, bottleneck], [K, 1] or undefined
};

}  // namespace cohort::nn
