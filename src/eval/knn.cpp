#include "cohort/eval/knn.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"

#include "eval/labelled.h"

namespace cohort::eval {
namespace {

constexpr std::int64_t kQueryBlock = 1024, kBankBlock = 8192;  // similarities of one pair of blocks: 32 MiB
constexpr double kNotThere = -1e30;                            // a similarity whose votes are 0
constexpr double kLeastShare = 1e-12;                          // of a class without votes

/// Rows of length 1.
at::Tensor normalised(const at::Tensor& rows) {
  return rows / rows.norm(2, 1, true).clamp_min(1e-12);
}

/// The most similar images of the bank: similarities and their labels, [n, k], best first.
struct Nearest {
  at::Tensor similarity, label;
};

/// `own` [n]: rows of the queries in the bank, which are no neighbours of theirs; undefined: they are not
/// there.
Nearest nearest(const at::Tensor& queries, const Labelled& bank, const at::Tensor& own, std::int64_t k) {
  Nearest best{at::empty({queries.size(0), 0}), at::empty({queries.size(0), 0}, at::kLong)};
  for (std::int64_t begin = 0; begin < bank.features.size(0); begin += kBankBlock) {
    const std::int64_t count = std::min(kBankBlock, bank.features.size(0) - begin);
    at::Tensor similarity = queries.matmul(bank.features.narrow(0, begin, count).t());
    if (own.defined())
      similarity.masked_fill_(own.unsqueeze(1).eq(bank.rows.narrow(0, begin, count)), kNotThere);
    const auto [values, places] = similarity.topk(std::min(k, count), 1);
    const at::Tensor labels = bank.labels.narrow(0, begin, count).index({places});
    const at::Tensor all = at::cat({best.similarity, values}, 1);
    const auto [kept, which] = all.topk(std::min(k, all.size(1)), 1);
    best = {kept, at::cat({best.label, labels}, 1).gather(1, which)};
  }
  return best;
}

/// [n, classes]
at::Tensor vote(const Nearest& nearest, std::int64_t k, std::int64_t classes, double temperature) {
  const at::Tensor similarity = nearest.similarity.narrow(1, 0, k);
  const at::Tensor weight = ((similarity - similarity.amax(1, true)) / temperature).exp();  // never overflows
  at::Tensor votes = at::zeros({weight.size(0), classes});
  votes.scatter_add_(1, nearest.label.narrow(1, 0, k), weight);
  return (votes / votes.sum(1, true)).clamp_min(kLeastShare).log();
}

}  // namespace

std::vector<at::Tensor> knn_logits(const at::Tensor& bank, std::span<const std::int32_t> labels,
                                   const at::Tensor& queries, std::int64_t classes, const KnnConfig& config,
                                   comm::Communicator& ranks) {
  COHORT_CHECK(
      bank.size(0) == std::ssize(labels) && bank.size(1) == queries.size(1) && !config.neighbours.empty(),
      "a bank of {} features with {} labels", bank.size(0), labels.size());
  const at::NoGradGuard no_gradients;
  Labelled known = labelled(bank, labels);
  known.features = normalised(known.features);
  const std::int64_t most = *std::max_element(config.neighbours.begin(), config.neighbours.end());
  const std::int64_t neighbours = known.labels.size(0) - std::int64_t{config.leave_own_out};
  if (most > neighbours) {
    throw UsageError({fmt::format("{} neighbours are asked for, but only {} training images have a label",
                                  most, neighbours),
                      "--k", "ask for fewer"});
  }
  const std::int64_t blocks = (queries.size(0) + kQueryBlock - 1) / kQueryBlock;
  std::vector<std::vector<at::Tensor>> parts(config.neighbours.size());
  std::vector<at::Tensor> rows;
  for (std::int64_t block = ranks.rank(); block < blocks; block += ranks.size()) {
    const std::int64_t begin = block * kQueryBlock, count = std::min(kQueryBlock, queries.size(0) - begin);
    rows.push_back(at::arange(begin, begin + count));
    const at::Tensor own = config.leave_own_out ? rows.back() : at::Tensor();
    const Nearest best = nearest(normalised(queries.narrow(0, begin, count)), known, own, most);
    for (std::size_t i = 0; i < parts.size(); ++i)
      parts[i].push_back(vote(best, config.neighbours[i], classes, config.temperature));
  }
  const at::Tensor order = ranks.gather_rows(rows.empty() ? at::empty({0}, at::kLong) : at::cat(rows));
  std::vector<at::Tensor> logits;
  for (const std::vector<at::Tensor>& part : parts) {
    const at::Tensor gathered = ranks.gather_rows(part.empty() ? at::empty({0, classes}) : at::cat(part));
    logits.push_back(at::empty_like(gathered).index_copy_(0, order, gathered));
  }
  return logits;
}

std::vector<Evaluation> evaluate_by_neighbours(const at::Tensor& bank, std::span<const std::int32_t> labels,
                                               const at::Tensor& queries, const data::Dataset& dataset,
                                               const EvaluationColumns& columns, const KnnConfig& config,
                                               comm::Communicator& ranks) {
  const auto classes = std::ssize(dataset.description().values(columns.label));
  const std::vector<at::Tensor> logits = knn_logits(bank, labels, queries, classes, config, ranks);
  std::vector<Evaluation> evaluations;
  comm::together(ranks, [&] {
    for (std::size_t i = 0; i < logits.size(); ++i) {
      evaluations.push_back(evaluation_of(logits[i], dataset, columns));
      evaluations.back().classifier =
          classifier_of(fmt::format("knn k={}", config.neighbours[i]), dataset.description(), columns.label);
    }
  });
  return evaluations;
}

}  // namespace cohort::eval
