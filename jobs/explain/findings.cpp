#include "findings.h"

#include <algorithm>
#include <string>

#include <ATen/ATen.h>

#include "jobs/features.h"

namespace cohort::jobs {
namespace {

/// Collects what a pass over a split finds.
class Collector {
 public:
  /// Reads the contexts: throws DataError.
  Collector(const TrainedModel& trained, const data::Dataset& dataset)
      : dataset_(dataset), keys_(trained.config.context.keys) {
    for (const std::string& key : keys_) {
      contexts_.push_back(&dataset.context_runs(key));
      tokens_.emplace_back(std::ssize(dataset.description().context(key).values),
                           trained.model->traits().width);
    }
  }

  void take(const eval::PassAnswers& answers) {
    if (!bad_.look(answers.rows, answers.features)) return;
    if (!keys_.empty() && !bad_.look(answers.rows, answers.context)) return;
    for (std::size_t k = 0; k < keys_.size(); ++k)
      tokens_[k].add(contexts_of(k, answers.rows), answers.context.select(1, static_cast<std::int64_t>(k)));
  }
  /// Collective. Throws NumericalError.
  std::vector<eval::ContextTokens> finish(comm::Communicator& ranks) {
    if (bad_.add_up(ranks)) comm::together(ranks, [&] { bad_.refuse(dataset_); });
    for (eval::ContextTokens& tokens : tokens_) tokens.add_up(ranks);
    return std::move(tokens_);
  }

 private:
  [[nodiscard]] at::Tensor contexts_of(std::size_t key, const at::Tensor& rows) const {
    at::Tensor contexts = at::empty_like(rows);
    for (std::int64_t i = 0; i < rows.numel(); ++i)
      contexts.mutable_data_ptr<std::int64_t>()[i] =
          contexts_[key]->at(rows.const_data_ptr<std::int64_t>()[i]);
    return contexts;
  }

  const data::Dataset& dataset_;
  std::vector<std::string> keys_;
  std::vector<const data::ContextRuns*> contexts_;
  std::vector<eval::ContextTokens> tokens_;
  NotFinite bad_;
};

/// Collective. Tokens of the contexts of the split, whose chosen features go to `chosen`.
Findings look_at_test(const Computation& what, ChosenFeatures& chosen, comm::Communicator& ranks) {
  std::optional<Collector> collector;
  comm::together(ranks, [&] { collector.emplace(what.trained, what.dataset); });
  (void)what.run({[&](const eval::PassAnswers& answers) {
                   collector->take(answers);
                   chosen.take(answers);
                 }},
                 ranks);
  return {collector->finish(ranks), {}};
}

/// Collective. Tokens of contexts, and the images most similar to `queries`; `own`: their rows, if they are
/// of this split.
Findings look_at_train(const Computation& what, const at::Tensor& queries, std::int64_t neighbours,
                       const at::Tensor& own, comm::Communicator& ranks) {
  std::optional<Collector> collector;
  std::optional<eval::SimilarImages> similar;
  comm::together(ranks, [&] {
    collector.emplace(what.trained, what.dataset);
    if (neighbours > 0) similar.emplace(queries, neighbours, own);
  });
  (void)what.run({[&](const eval::PassAnswers& answers) {
                   collector->take(answers);
                   if (similar) similar->add(answers.rows, answers.features);
                 }},
                 ranks);
  Findings found{collector->finish(ranks), {}};
  if (similar) found.similar = similar->finish(ranks);
  return found;
}

}  // namespace

SplitFindings look_at_splits(const ExplainOptions& options, const TrainedModel& trained,
                             const Material& material, comm::Communicator& ranks) {
  SplitFindings found;
  if (!material.train) return found;
  const data::Dataset &test = material.test.dataset, &train = material.train->dataset;
  const std::string key = explained_group_key(trained, material);
  const bool is_train = train.split() == test.split();
  ChosenFeatures chosen(material.rows, trained.model->traits().width, ranks);
  found.test = look_at_test({trained, test, key}, chosen, ranks);
  found.train = look_at_train({trained, train, key}, chosen.all(),
                              std::min(options.neighbours, train.rows() - std::int64_t{is_train}),
                              is_train ? at::tensor(material.rows, at::kLong) : at::Tensor(), ranks);
  return found;
}

}  // namespace cohort::jobs
