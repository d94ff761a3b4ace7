#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/eval/evaluation.h"

namespace cohort::eval {

struct KnnConfig {
  std::vector<std::int64_t> neighbours{10, 20, 100, 200};  ///< a classification for each
  double temperature = 0.07;
  bool leave_own_out = false;  ///< the queries are the bank, in its order: no image is a neighbour of itself
};

/// Classification by the nearest training images: each of the k most similar ones (cosine) votes for its
/// class with exp(similarity / temperature) (Wu et al., "Unsupervised feature learning via non-parametric
/// instance discrimination", arXiv 1805.01978; as DINO's evaluation).
///
/// Collective. `bank` [M, D] and `queries` [N, D] f32, the same on every rank; `labels` [M], -1: votes for
/// nothing and is left out. Returns for each k [N, classes] f32, logarithms of the shares of the votes. The
/// queries are divided over the ranks block by block: the same bits on any number of ranks. Memory of a rank
/// besides: a copy of the bank, 64 MiB, and the k best of its queries. Throws UsageError when a k exceeds the
/// number of labelled images that are neighbours.
std::vector<at::Tensor> knn_logits(const at::Tensor& bank, std::span<const std::int32_t> labels,
                                   const at::Tensor& queries, std::int64_t classes, const KnnConfig& config,
                                   comm::Communicator& ranks);

/// Collective. knn_logits() of the images of `dataset`, whose features are `queries`, scored for each k; the
/// classifier is "knn k=<k>", and says of what (classifier_of()). `bank` and `labels`: of the training
/// images; columns.label: a label, or a context. Throws UsageError or DataError.
std::vector<Evaluation> evaluate_by_neighbours(const at::Tensor& bank, std::span<const std::int32_t> labels,
                                               const at::Tensor& queries, const data::Dataset& dataset,
                                               const EvaluationColumns& columns, const KnnConfig& config,
                                               comm::Communicator& ranks);

}  // namespace cohort::eval
