#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/eval/evaluation.h"
#include "cohort/eval/stored_rows.h"

namespace cohort::eval {

struct KnnConfig {
  std::vector<std::int64_t> neighbours{10, 20, 100, 200};  ///< a classification for each
  double temperature = 0.07;
  bool leave_own_out = false;  ///< the queries are the bank, in its order: no image is a neighbour of itself
};

/// Throws UsageError: a k exceeds the `labelled` images with a label that are neighbours.
void check_neighbours(const KnnConfig& config, std::int64_t labelled);

/// What becomes of answers: logits [n, classes] f32, logarithms of the shares of the votes, of queries `rows`
/// [n] i64, by config.neighbours[number]. Each query is on one rank.
using TakeVotes = std::function<void(std::size_t number, const at::Tensor& rows, const at::Tensor& logits)>;

/// Classification by the nearest training images: each of the k most similar ones (cosine) votes for its
/// class with exp(similarity / temperature) (Wu et al., "Unsupervised feature learning via non-parametric
/// instance discrimination", arXiv 1805.01978; as DINO's evaluation).
///
/// Collective. `bank` M images, of which those without a label vote for nothing and are left out; `queries`
/// [N, D] f32. Queries are divided over the ranks block by block, and compared with the bank block by block:
/// the same bits on any number of ranks. Reads the bank once for every 8192 queries of each rank. Memory of a
/// rank: some blocks of 8192 images, 64 MiB, and the k best of these queries. Throws UsageError when a k
/// exceeds the number of labelled images that are neighbours, or what `take` throws, on every rank.
void classify_by_neighbours(const LabelledRows& bank, const StoredRows& queries, std::int64_t classes,
                            const KnnConfig& config, comm::Communicator& ranks, const TakeVotes& take);

/// Collective. classify_by_neighbours() of the images of `dataset`, whose features are `queries` and whose
/// columns `reader` reads, scored for each k; the classifier is "knn k=<k>", and says of what
/// (classifier_of()). columns.label: a label, or a context. `scored`: which contexts are scored, and at which
/// threshold. The scores of each k are counted beside the others': what scores need in memory and in TMPDIR
/// is needed for each. Throws UsageError or DataError.
std::vector<Evaluation> evaluate_by_neighbours(const LabelledRows& bank, const StoredRows& queries,
                                               const data::Dataset& dataset, data::ColumnReader& reader,
                                               const EvaluationColumns& columns, const EvalConfig& scored,
                                               const KnnConfig& config, comm::Communicator& ranks);

}  // namespace cohort::eval
