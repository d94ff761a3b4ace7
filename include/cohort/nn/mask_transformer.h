#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cohort/nn/dense_head.h"
#include "cohort/nn/initialise.h"

namespace cohort::nn {

class Block;

struct MaskTransformerShape {
  std::int64_t inputs = 0;  ///< channels of the encoder's last map
  std::int64_t outputs = 0;
  std::int64_t width = 512, depth = 2, heads = 8;
};

/// Decoder of Segmenter (Strudel et al., arXiv 2105.05633, section 3.2) on the places of an encoder's last
/// map: learnt class tokens go through transformer blocks together with the places; what a place is worth for
/// a class is the cosine of both, normalised over the classes of the place (LayerNorm). Parameters have the
/// published names: proj_dec, cls_emb, blocks, decoder_norm, proj_patch, proj_classes, mask_norm. Blocks have
/// no bias in qkv; all norms have eps 1e-5. Outputs: two at least, since the norm makes a constant of one.
class MaskTransformer final : public DenseHead, public Initialised {
 public:
  explicit MaskTransformer(const MaskTransformerShape& shape);

  at::Tensor forward(const DenseInput& input, const Conditions& conditions, const BlockRunner& run) override;
  [[nodiscard]] std::vector<std::shared_ptr<torch::nn::Module>> blocks() const override;
  /// proj_patch and proj_classes: normal with variance 1 / width, as published.
  [[nodiscard]] std::optional<Draw> first_values_of(const std::string& name,
                                                    const torch::nn::Module& owner) const override;

 private:
  std::int64_t width_;
  std::shared_ptr<torch::nn::Module> embed_, norm_, mask_norm_;  ///< Linear, LayerNorm, LayerNorm
  std::vector<std::shared_ptr<Block>> blocks_;
  at::Tensor class_tokens_, of_places_, of_classes_;  ///< [1, outputs, width], [width, width] both
};

}  // namespace cohort::nn
