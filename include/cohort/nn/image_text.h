#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include "cohort/nn/batch_norm.h"
#include "cohort/nn/bert.h"
#include "cohort/nn/encoder.h"
#include "cohort/nn/projection_head.h"

namespace cohort::nn {

/// By what the sum of local vectors is divided, which asks for the pooled one.
enum class PoolDivisor {
  valid,   ///< by how many of them there are
  padded,  ///< by the longest of the group, as LoVT was published
};
std::span<const config::EnumName<PoolDivisor>> enum_names(PoolDivisor);

/// Whether vectors that pad a group's shorter texts count for batch normalisation.
enum class NormPadding {
  include,  ///< they do, as LoVT was published
  exclude,
};
std::span<const config::EnumName<NormPadding>> enum_names(NormPadding);

/// What a head for images and texts is made of.
struct ImageTextShape {
  std::int64_t image_width = 0, text_width = 0;  ///< of local vectors
  std::int64_t hidden = 2048, outputs = 512;     ///< of the projections
  HeadNorm batch_norm = HeadNorm::group;         ///< none or group
  bool image_attention = true;                   ///< images are pooled by attention; else a region's mean
  bool text_attention = true;  ///< texts are pooled by attention; else by the maximum of their sentences
  bool local = true;           ///< regions and sentences are projected and aligned
  std::int64_t heads = 8;      ///< of attention
  PoolDivisor pool_divisor = PoolDivisor::valid;
  NormPadding norm_padding = NormPadding::include;
};

/// Attention with one query, the mean of the vectors: out(sum_m a_m v_m), averaged over heads the weights a
/// [b, M] (LoVT's global aggregator). Parameters of torch.nn.MultiheadAttention: in_proj_weight …
class AttentionPooling final : public torch::nn::Module, public Initialised {
 public:
  AttentionPooling(std::int64_t width, std::int64_t heads);
  struct Output {
    at::Tensor pooled;   ///< [b, D]
    at::Tensor weights;  ///< [b, M], adding up to 1 over what is valid; without gradient
  };
  /// `values` [b, M, D], zeros where not `valid` [b, M] bool; `divisor` [b]: of their sum.
  Output forward(const at::Tensor& values, const at::Tensor& valid, const at::Tensor& divisor);
  [[nodiscard]] std::optional<Draw> first_values_of(const std::string& name,
                                                    const torch::nn::Module& owner) const override;

 private:
  std::int64_t width_, heads_;
  at::Tensor in_weight_, in_bias_;
  std::shared_ptr<torch::nn::Module> out_;
};

/// Vectors of a batch [b, M, D] of which samples have different numbers, and which of them make up the rows
/// of batch normalisation. Groups are neighbours.
struct LocalVectors {
  at::Tensor values;                      ///< zeros where not valid
  at::Tensor valid;                       ///< [b, M] bool
  at::Tensor rows;                        ///< [R] i64, of b * M: what enters a projection, group by group
  std::vector<std::int64_t> group_sizes;  ///< rows of each group; empty: one group of all
  at::Tensor divisor;                     ///< [b] f32, of AttentionPooling
};

/// What the head makes of b images with K regions and at most M sentences each.
struct ImageTextOutput {
  at::Tensor image, text;                       ///< [b, d] f32: global vectors
  at::Tensor regions, attended_regions;         ///< [b, K, d] f32: own ones, and made of sentences
  at::Tensor sentences, attended_sentences;     ///< [b, M, d] f32: own ones, and made of regions
  at::Tensor region_weights, sentence_weights;  ///< [b, K], [b, M], without gradient
  at::Tensor regions_to_sentences;              ///< [b, K, M]: what each region attends to
  at::Tensor sentences_to_regions;              ///< [b, M, K]
  at::Tensor pooled_image, pooled_text;         ///< [b, D] of each modality, before projection
};

class CrossAlignment;

/// LoVT's head (arXiv 2112.02889, section 3.2): pooling by attention, projections of local and global
/// vectors, and the alignment of regions and sentences; without the local part that of CLIP*, without
/// attention and batch normalisation that of ConVIRT. Modules: image_pooling, text_pooling, image_global,
/// text_global, image_local, text_local (nn::ProjectionHead), alignment.
class ImageTextHead final : public torch::nn::Module, public Initialised {
 public:
  explicit ImageTextHead(const ImageTextShape& shape);
  /// What `shape` leaves out is undefined. `conditions`: of the images. Errors: BatchNorm.
  ImageTextOutput forward(const LocalVectors& regions, const LocalVectors& sentences,
                          const Conditions& conditions);
  [[nodiscard]] const ImageTextShape& shape() const noexcept { return shape_; }
  [[nodiscard]] std::optional<Draw> first_values_of(const std::string& name,
                                                    const torch::nn::Module& owner) const override;

 private:
  ImageTextShape shape_;
  std::shared_ptr<AttentionPooling> image_pooling_, text_pooling_;
  std::shared_ptr<ProjectionHead> image_global_, text_global_, image_local_, text_local_;
  std::shared_ptr<CrossAlignment> alignment_;
};

/// All places of a grid, `regions` [b, K, D].
LocalVectors region_vectors(const at::Tensor& regions, std::span<const std::int64_t> images_of_groups);

/// Which sentence consists of which tokens: `of` each of b texts, of each of its sentences, begin and end
/// among the N tokens of all.
using SentenceExtents = std::vector<std::vector<std::pair<std::int64_t, std::int64_t>>>;

/// Sentences of b texts, the maximum over the `tokens` [N, D] of each. Texts have one or more.
LocalVectors sentence_vectors(const at::Tensor& tokens, const SentenceExtents& of,
                              std::span<const std::int64_t> images_of_groups, NormPadding padding,
                              PoolDivisor divisor);

/// An encoder of images, BERT and the head as one model. The last of the encoder's maps are the regions.
/// Units are the head, those of the encoder and those of BERT. Parameters are called backbone.…, text.… and
/// head.….
class ImageTextModel final : public UnitModel {
 public:
  /// Values are uninitialised: initialise() or discard_values() comes next. Widths of the shape are those of
  /// the towers. Throws UsageError: the encoder has no maps; heads do not divide a width.
  ImageTextModel(std::shared_ptr<Encoder> encoder, std::shared_ptr<Bert> text, ImageTextShape shape);

  [[nodiscard]] const std::shared_ptr<Encoder>& backbone() const noexcept { return backbone_; }
  [[nodiscard]] const std::shared_ptr<Bert>& text() const noexcept { return text_; }
  struct Output {
    ImageTextOutput head;  ///< without what is before projection, and what regions attend to
    at::Tensor features;   ///< [b, D] of the encoder, for metrics; undefined where it pools nothing
    at::Tensor valid;      ///< [b, M] bool: sentences
    std::int64_t height = 0, width = 0;  ///< of the grid of regions
  };
  /// `images` [b, C, H, W], images of one group neighbours. Collective where the towers are.
  Output forward(const at::Tensor& images, const PackedTexts& texts, const SentenceExtents& sentences,
                 const Conditions& conditions);

 private:
  std::shared_ptr<Encoder> backbone_;
  std::shared_ptr<Bert> text_;
  std::shared_ptr<ImageTextHead> head_;
};

}  // namespace cohort::nn
