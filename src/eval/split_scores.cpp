#include "eval/split_scores.h"

#include <utility>

#include "cohort/data/grouping.h"

#include "eval/classification.h"

namespace cohort::eval {
namespace {

/// The keys that scores are given for, with the values of all of them.
ContextNames scored_keys(const data::Dataset& dataset, const EvaluationColumns& columns,
                         const EvalConfig& config) {
  std::vector<std::string> keys = config.contexts;
  const std::vector<std::string> grouping = data::grouping_keys(columns.context_key);
  if (keys.empty() && !grouping.empty()) keys = {grouping.front()};
  ContextNames names;
  for (const std::string& key : keys) {
    (void)dataset.context_runs(key);
    const std::vector<std::string>& values = dataset.description().context(key).values;
    names.keys.push_back({key, names.values.size(), values.size()});
    names.values.insert(names.values.end(), values.begin(), values.end());
  }
  return names;
}

Evaluation without_scores(const data::Dataset& dataset, const EvaluationColumns& columns,
                          const ContextNames& contexts) {
  return {dataset.split(),
          columns.label,
          columns.classes.empty() ? dataset.description().values(columns.label) : columns.classes,
          contexts.keys.empty() ? "" : contexts.keys.front().name,
          {}};
}

}  // namespace

SplitScores::SplitScores(const data::Dataset& dataset, data::ColumnReader& reader,
                         const EvaluationColumns& columns, const EvalConfig& config)
    : dataset_(dataset),
      reader_(reader),
      contexts_(scored_keys(dataset, columns, config)),
      evaluation_(without_scores(dataset, columns, contexts_)),
      numbers_(dataset.description(), dataset.split(), columns.label, evaluation_.classes),
      scores_(std::ssize(evaluation_.classes), contexts_.values.size(), dataset.rows(),
              config.task.threshold) {}

std::vector<std::int32_t> SplitScores::labels(std::span<const std::int64_t> rows) const {
  std::vector<std::int32_t> found;
  for (std::size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    for (end = begin + 1; end < rows.size() && rows[end] == rows[end - 1] + 1;) ++end;
    const auto stretch =
        reader_.column(evaluation_.label, rows[begin], static_cast<std::int64_t>(end - begin));
    for (const std::int32_t label : stretch) found.push_back(numbers_(label));
  }
  return found;
}

std::vector<std::int32_t> SplitScores::contexts(std::span<const std::int64_t> rows) const {
  std::vector<std::int32_t> found(rows.size() * contexts_.keys.size());
  for (std::size_t k = 0; k < contexts_.keys.size(); ++k) {
    const data::ContextRuns& runs = dataset_.context_runs(contexts_.keys[k].name);
    const auto first = static_cast<std::int32_t>(contexts_.keys[k].first);
    for (std::size_t i = 0; i < rows.size(); ++i)
      found[i * contexts_.keys.size() + k] = first + runs.at(rows[i]);
  }
  return found;
}

void SplitScores::add(const at::Tensor& logits, const at::Tensor& rows) {
  const std::span<const std::int64_t> numbers(rows.const_data_ptr<std::int64_t>(),
                                              static_cast<std::size_t>(rows.size(0)));
  scores_.add(logits, rows, labels(numbers), contexts(numbers));
}

Evaluation SplitScores::finish(comm::Communicator& ranks) {
  Evaluation evaluation = std::move(evaluation_);
  const std::size_t of_first_key = contexts_.keys.empty() ? 0 : contexts_.keys.front().count;
  evaluation.scores = scores_.finish(std::span(contexts_.values).first(of_first_key), ranks);
  evaluation.card = scorecard_of(evaluation.scores, scores_.detail(), evaluation.classes, contexts_);
  return evaluation;
}

}  // namespace cohort::eval
