#include "eval/split_scores.h"

#include <utility>

#include "eval/classification.h"

namespace cohort::eval {
namespace {

Evaluation without_scores(const data::Dataset& dataset, const EvaluationColumns& columns,
                          const ContextNames& contexts) {
  return {dataset.split(),
          columns.label,
          columns.classes.empty() ? dataset.description().values(columns.label) : columns.classes,
          contexts.keys.empty() ? "" : contexts.keys.front().name,
          {}};
}

}  // namespace

void name_cases(Scorecard& card, const data::Dataset& dataset, comm::Communicator& ranks) {
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    for (Case& one : card.cases) one.id = dataset.id(one.row);
  });
}

SplitScores::SplitScores(const data::Dataset& dataset, data::ColumnReader& reader,
                         const EvaluationColumns& columns, const EvalConfig& config)
    : dataset_(dataset),
      reader_(reader),
      contexts_(dataset, columns.context_key, config),
      evaluation_(without_scores(dataset, columns, contexts_.names())),
      numbers_(dataset.description(), dataset.split(), columns.label, evaluation_.classes),
      scores_(std::ssize(evaluation_.classes), contexts_.names().values.size(), dataset.rows(),
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

void SplitScores::add(const at::Tensor& logits, const at::Tensor& rows) {
  const std::span<const std::int64_t> numbers(rows.const_data_ptr<std::int64_t>(),
                                              static_cast<std::size_t>(rows.size(0)));
  scores_.add(logits, rows, labels(numbers), contexts_.of(numbers));
}

Evaluation SplitScores::finish(comm::Communicator& ranks) {
  Evaluation evaluation = std::move(evaluation_);
  const ContextNames& contexts = contexts_.names();
  const std::size_t of_first_key = contexts.keys.empty() ? 0 : contexts.keys.front().count;
  evaluation.scores = scores_.finish(std::span(contexts.values).first(of_first_key), ranks);
  evaluation.card = scorecard_of(evaluation.scores, scores_.detail(), evaluation.classes, contexts);
  name_cases(evaluation.card, dataset_, ranks);
  return evaluation;
}

}  // namespace cohort::eval
