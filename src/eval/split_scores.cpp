#include "eval/split_scores.h"

#include <utility>

#include "cohort/data/grouping.h"

namespace cohort::eval {
namespace {

Evaluation without_scores(const data::Dataset& dataset, const EvaluationColumns& columns) {
  const std::vector<std::string> keys = data::grouping_keys(columns.context_key);
  return {dataset.split(),
          columns.label,
          columns.classes.empty() ? dataset.description().values(columns.label) : columns.classes,
          keys.empty() ? "" : keys.front(),
          {}};
}

std::span<const std::string> context_names(const data::Dataset& dataset, const std::string& key) {
  if (key.empty()) return {};
  return dataset.description().context(key).values;
}

}  // namespace

SplitScores::SplitScores(const data::Dataset& dataset, data::ColumnReader& reader,
                         const EvaluationColumns& columns)
    : dataset_(dataset),
      reader_(reader),
      evaluation_(without_scores(dataset, columns)),
      numbers_(dataset.description(), dataset.split(), columns.label, evaluation_.classes),
      scores_(std::ssize(evaluation_.classes), context_names(dataset, evaluation_.context_key).size(),
              dataset.rows()) {
  if (!evaluation_.context_key.empty()) (void)dataset.context_runs(evaluation_.context_key);
}

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
  std::vector<std::int32_t> found;
  if (evaluation_.context_key.empty()) return found;
  const data::ContextRuns& runs = dataset_.context_runs(evaluation_.context_key);
  for (const std::int64_t row : rows) found.push_back(runs.at(row));
  return found;
}

void SplitScores::add(const at::Tensor& logits, const at::Tensor& rows) {
  const std::span<const std::int64_t> numbers(rows.const_data_ptr<std::int64_t>(),
                                              static_cast<std::size_t>(rows.size(0)));
  scores_.add(logits, rows, labels(numbers), contexts(numbers));
}

Evaluation SplitScores::finish(comm::Communicator& ranks) {
  Evaluation evaluation = std::move(evaluation_);
  evaluation.scores = scores_.finish(context_names(dataset_, evaluation.context_key), ranks);
  return evaluation;
}

}  // namespace cohort::eval
