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
#include "cohort/nn/vit.h"

namespace cohort::eval {

/// What a model looks at in n images. Maps are [..., M, h, w] on the grid of patches, M the tokens of a patch
/// (ChannelViT: a channel each, else 1); all fp32 on the CPU.
struct Explanation {
  at::Tensor rollout;   ///< [n, M, h, w], attention rollout
  at::Tensor heads;     ///< [n, heads, M, h, w]: what cls attends to in the last block
  at::Tensor saliency;  ///< [n, classes, M, h, w], ViT-ReciproCAM, 0 … 1; undefined without a head
  at::Tensor logits;    ///< [n, classes]; undefined without a head
};

/// The model as one that can be explained. Throws UsageError when it is none: it has no attention, or does
/// not answer by its cls token.
nn::VisionTransformer& explainable(nn::Encoder& model);

/// Collective. Maps of the images `rows` of the dataset, in that order, each with the context token of its
/// evaluation group (predict()). Groups are dealt to ranks: the same bits on any number of them. fp32. Every
/// parameter of the model is whole on this rank. Throws UsageError or DataError.
Explanation explain(nn::VisionTransformer& model, const data::Dataset& dataset,
                    std::span<const std::int64_t> rows, const std::string& group_by, const EvalConfig& config,
                    augment::Normalisation normalisation, comm::Communicator& ranks);

/// Images of a bank that are most similar to each query, best first.
struct Similar {
  at::Tensor row;         ///< [n, k] i64
  at::Tensor similarity;  ///< [n, k] f32, cosine
};

/// `bank` [M, D], `queries` [n, D] f32; `own` [n] i64: where the queries stand in the bank themselves, which
/// does not count; undefined: nowhere. k of at most M, or M - 1.
Similar most_similar(const at::Tensor& bank, const at::Tensor& queries, std::int64_t k,
                     const at::Tensor& own = {});

/// Where tokens of contexts lie, seen along the two directions in which they differ most.
struct Projection {
  at::Tensor points;               ///< [n, 2] f64; the largest coordinate of each direction is positive
  std::array<double, 2> shares{};  ///< of the variance, along each direction
};

/// Principal components of `tokens` [n, D], n > 0.
Projection principal_components(const at::Tensor& tokens);

}  // namespace cohort::eval
