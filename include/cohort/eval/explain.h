#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/augment/views.h"
#include "cohort/comm/communicator.h"
#include "cohort/data/dataset.h"
#include "cohort/eval/predict.h"
#include "cohort/nn/explainer.h"

namespace cohort::eval {

/// What a model looks at in n images. Maps are [..., M, h, w] on the grid of patches, M the tokens of a patch
/// (ChannelViT: a channel each, else 1), of a residual network on the places of its map; all fp32 on the CPU.
struct Explanation {
  at::Tensor rollout;   ///< [n, M, h, w], attention rollout; undefined without attention, as heads
  at::Tensor heads;     ///< [n, heads, M, h, w]: what the answer is made from attends to in the last block
  at::Tensor saliency;  ///< [n, classes, M, h, w], ViT-ReciproCAM or Recipro-CAM, 0 … 1; undefined without a
                        ///< head
  at::Tensor logits;  ///< [n, classes]; undefined without a head
};

/// Collective. Maps of the images `rows` of the dataset, in that order, each with the context token of its
/// evaluation group (predict_passes()). Groups are dealt to ranks: the same bits on any number of them. fp32
/// unless `how` says otherwise. Every parameter of the model is whole on this rank. Throws UsageError or
/// DataError. Precondition: nn::check_explainable().
Explanation explain(nn::Encoder& model, const data::Dataset& dataset, std::span<const std::int64_t> rows,
                    const std::string& group_by, const EvalConfig& config,
                    augment::Normalisation normalisation, comm::Communicator& ranks,
                    const nn::ExplainerConfig& how = {});

/// Images of a bank that are most similar to each query, best first.
struct Similar {
  at::Tensor row;         ///< [n, k] i64
  at::Tensor similarity;  ///< [n, k] f32, cosine
};

/// Finds them in a bank of which ranks see one part after the other, and hold none. Of equally similar images
/// those of lower rows come first: the same on any number of ranks.
class SimilarImages {
 public:
  /// `queries` [n, D] f32; `own` [n] i64: where the queries stand in the bank themselves, which does not
  /// count; undefined: nowhere. k of at most the images of the bank, or one less.
  SimilarImages(const at::Tensor& queries, std::int64_t k, at::Tensor own = {});
  /// `features` [m, D] f32 of the rows `rows` [m] i64 of the bank. Precondition: these and the queries are
  /// finite.
  void add(const at::Tensor& rows, const at::Tensor& features);
  /// Collective, once.
  Similar finish(comm::Communicator& ranks);

 private:
  void keep_best(const at::Tensor& rows, const at::Tensor& similarity);

  at::Tensor queries_, own_;
  std::int64_t k_;
  Similar best_;
};

/// Mean token of each context, of images of which ranks see one part after the other. Sums are whole
/// multiples of 2⁻⁵²: no number depends on ranks or order. Memory of a rank: 16 bytes for each value of a
/// mean.
class ContextTokens {
 public:
  ContextTokens(std::int64_t contexts, std::int64_t width);
  /// `tokens` [m, D] f32 of images of the contexts `contexts` [m] i64. Precondition: they are finite.
  void add(const at::Tensor& contexts, const at::Tensor& tokens);
  /// Collective. What ranks saw together is on each of them.
  void add_up(comm::Communicator& ranks);
  [[nodiscard]] std::int64_t images(std::int64_t context) const;
  /// [D] f64. Precondition: it has images.
  [[nodiscard]] at::Tensor mean(std::int64_t context) const;

 private:
  at::Tensor coarse_, fine_;  // [contexts, D] i64, in units of 2⁻²⁰ and 2⁻⁵²
  at::Tensor images_;         // [contexts] i64
};

/// Where tokens of contexts lie, seen along the two directions in which they differ most.
struct Projection {
  at::Tensor points;               ///< [n, 2] f64; the largest coordinate of each direction is positive
  std::array<double, 2> shares{};  ///< of the variance, along each direction
};

/// Principal components of `tokens` [n, D], n > 0.
Projection principal_components(const at::Tensor& tokens);

}  // namespace cohort::eval
