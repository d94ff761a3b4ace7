#pragma once
#include <memory>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/nn/encoder.h"
#include "cohort/nn/explain.h"

namespace cohort::nn {

/// What a model answers of n images, and where it looks for that; fp32, on the model's device.
struct Explained {
  at::Tensor logits;  ///< [n, classes]
  at::Tensor maps;    ///< [n, classes, M, h, w], as the method has them; of a method that does not ask for
                      ///< classes [n, 1, M, h, w]. M tokens at a place: ChannelViT a channel each, else 1
};

/// A way to explain what a model answers. Evaluation mode, no gradients. The model outlives it, is whole on
/// this rank, and has a head. One thread.
class Explainer {
 public:
  Explainer() = default;
  Explainer(const Explainer&) = delete;
  Explainer& operator=(const Explainer&) = delete;
  virtual ~Explainer() = default;

  [[nodiscard]] virtual std::string_view name() const noexcept = 0;
  /// `images` [B, C, H, W], whole groups: those that the following images are made from, and whose context
  /// tokens they keep.
  virtual void see(const at::Tensor& images, const Conditions& conditions) = 0;
  /// Of `images` [n, C, H, W], image i made from number from[i] ([n] i64) of those seen.
  virtual Explained explain(const at::Tensor& images, const at::Tensor& from) = 0;
  /// Their logits alone, [n, classes].
  virtual at::Tensor logits(const at::Tensor& images, const at::Tensor& from) = 0;
};

/// `bf16`: matrix products in bf16, scores in fp32.
struct ExplainerConfig {
  ReciprocamConfig reciprocam{};
  bool bf16 = false;
};

/// Those that can explain `model`: "reciprocam", and "rollout" where there is attention.
std::vector<std::unique_ptr<Explainer>> explainers_of(Encoder& model, const ExplainerConfig& config = {});

/// Throws UsageError when there is nothing in `model` to explain, or not the block that `config` asks for.
void check_explainable(const Encoder& model, const ReciprocamConfig& config);

/// The places of maps of images of height x width pixels.
PatchGrid grid_of_maps(const VitShape& shape, std::int64_t height, std::int64_t width);

}  // namespace cohort::nn
