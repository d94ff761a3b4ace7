#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cohort/nn/encoder.h"
#include "cohort/nn/initialise.h"
#include "cohort/nn/position.h"

namespace cohort::nn {

class PyramidBlock;
class PyramidEmbedding;

/// Everything that decides the shapes of a pyramid vision transformer; of four stages, fine to coarse.
struct PvtShape {
  std::int64_t channels = 3;             ///< of the images
  std::array<std::int64_t, 4> widths{};  ///< of tokens
  std::array<std::int64_t, 4> heads{1, 2, 5, 8};
  std::array<std::int64_t, 4> mlp_ratios{8, 8, 4, 4};
  std::array<std::int64_t, 4> reductions{8, 4, 2, 1};  ///< of keys and values: one for each square of places
  std::array<std::int64_t, 4> depths{};                ///< blocks
  std::int64_t classes = 0;                            ///< 0: no head
  double drop_path = 0.0;
};

/// pvtv2_b0 to pvtv2_b3, without a head. Nothing for another name.
std::optional<PvtShape> pvt_shape(const std::string& name);
std::vector<std::string> pvt_names();

/// Pyramid vision transformer, the second version (Wang et al., arXiv 2106.13797), as published: each stage
/// begins with a convolution that overlaps, of stride 4 or 2, and a norm; its pre-norm blocks attend to
/// places of which a convolution makes fewer keys and values, and their MLPs have a convolution of 3 x 3 by
/// channel. Parameters have the published names (patch_embed1.proj, block1.0.attn.sr,
/// block1.0.mlp.dwconv.dwconv, norm1, head). First values of convolutions: normal, deviation sqrt(2 /
/// fan_out), biases 0. Unit b is block b, counted over all stages; the rest is the root unit. Not copyable.
/// One thread at a time.
class PvtV2 final : public Encoder, public Initialised {
 public:
  /// Random weights of `seed`.
  PvtV2(const PvtShape& shape, std::uint64_t seed);
  /// Without memory for the weights (discard_values).
  explicit PvtV2(const PvtShape& shape);

  /// `images` [B, C, h, w], normalised, of any size from 32 x 32 on. Pooled features are the mean of the last
  /// stage's tokens behind its norm; maps those of the four stages behind their norms, of strides 4, 8, 16
  /// and
  /// 32. No tokens, no contexts.
  Output encode(const at::Tensor& images, const Conditions& conditions, unsigned wanted) override;

  [[nodiscard]] const PvtShape& shape() const noexcept { return shape_; }
  [[nodiscard]] const EncoderTraits& traits() const noexcept override { return traits_; }
  [[nodiscard]] std::int64_t token_count(std::int64_t channels, std::int64_t height,
                                         std::int64_t width) const override;
  [[nodiscard]] std::string summary() const override;
  [[nodiscard]] std::string_view head() const noexcept override { return "head."; }
  [[nodiscard]] std::span<const Dialect> dialects() const noexcept override { return {}; }
  [[nodiscard]] std::optional<Adapted> adapt(const std::string& name, const at::Tensor& parameter,
                                             const at::Tensor& stored, NamesOfBoth names) const override;
  [[nodiscard]] std::optional<Draw> first_values_of(const std::string& name,
                                                    const torch::nn::Module& owner) const override;

  static constexpr std::size_t kStages = 4;

 private:
  struct Stage {
    std::shared_ptr<PyramidEmbedding> embedding;
    std::vector<std::shared_ptr<PyramidBlock>> blocks;
    std::shared_ptr<torch::nn::Module> norm;  ///< LayerNorm
  };
  Stage make_stage(std::size_t number);
  at::Tensor run_stage(std::size_t number, const at::Tensor& map, const Conditions& conditions);
  [[nodiscard]] std::int64_t blocks_before(std::size_t stage) const;
  /// What begins a stage stands where the block before it does, a stage's norm where its last block does.
  [[nodiscard]] int own_layer_of(const std::string& parameter) const override;

  PvtShape shape_;
  EncoderTraits traits_;
  std::vector<Stage> stages_;
  std::shared_ptr<torch::nn::Module> head_;  ///< Linear; null without
};

}  // namespace cohort::nn
