#include "cohort/eval/knn.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"

#include "eval/labelled.h"
#include "eval/split_scores.h"
#include "eval/unit_rows.h"

namespace cohort::eval {
namespace {

constexpr std::int64_t kQueryBlock = 1024, kBankBlock = 8192;  // similarities of one pair of blocks: 32 MiB
constexpr double kNotThere = -1e30;                            // a similarity whose votes are 0
constexpr double kLeastShare = 1e-12;                          // of a class without votes

/// Queries of this rank, and their most similar images so far: similarities and labels, [n, k], best first.
struct Asking {
  at::Tensor rows, features;
  at::Tensor similarity, label;
};

Asking asking(std::int64_t first, const at::Tensor& features) {
  const std::int64_t count = features.size(0);
  return {at::arange(first, first + count), unit_rows(features), at::empty({count, 0}),
          at::empty({count, 0}, at::kLong)};
}

/// `own`: the queries are of the bank, and no neighbours of themselves.
void look_at(const Labelled& bank, bool own, std::int64_t k, Asking& query) {
  at::Tensor similarity = query.features.matmul(bank.features.t());
  if (own) similarity.masked_fill_(query.rows.unsqueeze(1).eq(bank.rows), kNotThere);
  const auto [values, places] = similarity.topk(std::min(k, similarity.size(1)), 1);
  const at::Tensor labels = bank.labels.index({places});
  const at::Tensor all = at::cat({query.similarity, values}, 1);
  const auto [kept, which] = all.topk(std::min(k, all.size(1)), 1);
  query.similarity = kept;
  query.label = at::cat({query.label, labels}, 1).gather(1, which);
}

/// [n, classes]
at::Tensor vote(const Asking& query, std::int64_t k, std::int64_t classes, double temperature) {
  const at::Tensor similarity = query.similarity.narrow(1, 0, k);
  const at::Tensor weight = ((similarity - similarity.amax(1, true)) / temperature).exp();  // never overflows
  at::Tensor votes = at::zeros({weight.size(0), classes});
  votes.scatter_add_(1, query.label.narrow(1, 0, k), weight);
  return (votes / votes.sum(1, true)).clamp_min(kLeastShare).log();
}

std::int64_t most_neighbours(const KnnConfig& config) {
  return *std::max_element(config.neighbours.begin(), config.neighbours.end());
}

/// How many blocks of queries a rank compares with a block of the bank at once: as many as leave what is kept
/// of them small.
std::int64_t blocks_at_once(std::int64_t k) {
  constexpr std::int64_t kMost = 8, kKept = std::int64_t{32} << 20, kBytes = 12;  // of a neighbour
  return std::clamp(kKept / (kQueryBlock * k * kBytes), std::int64_t{1}, kMost);
}

/// Collective. This rank's of the blocks of queries `first` … `last` - 1.
std::vector<Asking> read_queries(const StoredRows& queries, std::int64_t first, std::int64_t last,
                                 const comm::Communicator& ranks) {
  std::vector<Asking> mine;
  for (std::int64_t block = first; block < last; ++block) {
    const std::int64_t begin = block * kQueryBlock, count = std::min(kQueryBlock, queries.rows() - begin);
    const at::Tensor features = queries.block(begin, count);
    if (block % ranks.size() == ranks.rank()) mine.push_back(asking(begin, features));
  }
  return mine;
}

/// Collective. Finds the k nearest of the queries. Returns how many images have a label.
std::int64_t find_nearest(const LabelledRows& bank, bool own, std::int64_t k, std::vector<Asking>& queries,
                          comm::Communicator& ranks) {
  LabelledBlocks blocks(bank, kBankBlock, ranks);
  std::int64_t labelled = 0;
  for (Labelled block = blocks.next(); block.rows.numel() > 0; block = blocks.next()) {
    block.features = unit_rows(block.features);
    labelled += block.rows.numel();
    for (Asking& query : queries) look_at(block, own, k, query);
  }
  return labelled;
}

}  // namespace

void check_neighbours(const KnnConfig& config, std::int64_t labelled) {
  const std::int64_t most = most_neighbours(config), there = labelled - std::int64_t{config.leave_own_out};
  if (most <= there) return;
  throw UsageError(
      {fmt::format("{} neighbours are asked for, but only {} training images have a label", most, there),
       "--k", "ask for fewer"});
}

void classify_by_neighbours(const LabelledRows& bank, const StoredRows& queries, std::int64_t classes,
                            const KnnConfig& config, comm::Communicator& ranks, const TakeVotes& take) {
  COHORT_CHECK(bank.features.width() == queries.width() && !config.neighbours.empty(),
               "features of {} and {} numbers", bank.features.width(), queries.width());
  const at::NoGradGuard no_gradients;
  const std::int64_t most = most_neighbours(config);
  const std::int64_t blocks = (queries.rows() + kQueryBlock - 1) / kQueryBlock,
                     at_once = blocks_at_once(most) * ranks.size();
  for (std::int64_t first = 0; first < blocks; first += at_once) {
    std::vector<Asking> mine = read_queries(queries, first, std::min(blocks, first + at_once), ranks);
    const std::int64_t labelled = find_nearest(bank, config.leave_own_out, most, mine, ranks);
    comm::together(ranks, [&] {
      check_neighbours(config, labelled);
      for (const Asking& query : mine)
        for (std::size_t i = 0; i < config.neighbours.size(); ++i)
          take(i, query.rows, vote(query, config.neighbours[i], classes, config.temperature));
    });
  }
}

std::vector<Evaluation> evaluate_by_neighbours(const LabelledRows& bank, const StoredRows& queries,
                                               const data::Dataset& dataset, data::ColumnReader& reader,
                                               const EvaluationColumns& columns, const EvalConfig& scored,
                                               const KnnConfig& config, comm::Communicator& ranks) {
  std::vector<SplitScores> scores;
  comm::together(ranks, [&] {
    for (std::size_t i = 0; i < config.neighbours.size(); ++i)
      scores.emplace_back(dataset, reader, columns, scored);
  });
  const auto classes = std::ssize(dataset.description().values(columns.label));
  classify_by_neighbours(bank, queries, classes, config, ranks,
                         [&](std::size_t number, const at::Tensor& rows, const at::Tensor& logits) {
                           scores[number].add(logits, rows);
                         });
  std::vector<Evaluation> evaluations;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    evaluations.push_back(scores[i].finish(ranks));
    evaluations.back().classifier =
        classifier_of(fmt::format("knn k={}", config.neighbours[i]), dataset.description(), columns.label);
  }
  return evaluations;
}

}  // namespace cohort::eval
