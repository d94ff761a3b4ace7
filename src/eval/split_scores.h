#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/data/column_reader.h"
#include "cohort/data/dataset.h"
#include "cohort/data/signature.h"
#include "cohort/eval/eval_config.h"
#include "cohort/eval/evaluation.h"
#include "cohort/eval/task.h"

#include "eval/contexts_of_rows.h"
#include "eval/running_scores.h"

namespace cohort::eval {

/// Collective. Ids of the images that are to be looked at; rank 0 reads and has them.
void name_cases(Scorecard& card, const data::Dataset& dataset, comm::Communicator& ranks);

/// The evaluation of a split, whose images ranks see one block after the other. A rank holds numbers of
/// classes and contexts (RunningScores), and labels (ColumnReader).
class SplitScores {
 public:
  /// `reader` reads the columns of `dataset`; both have to outlive it. `config`: which contexts are scored
  /// (empty: those of columns.context_key), and at which threshold. Throws UsageError: no such column.
  SplitScores(const data::Dataset& dataset, data::ColumnReader& reader, const EvaluationColumns& columns,
              const EvalConfig& config);
  /// `logits` [n, classes] f32 of rows `rows` [n] i64. Throws UsageError (an image has a class that is none
  /// of columns.classes) or DataError.
  void add(const at::Tensor& logits, const at::Tensor& rows);
  /// Collective, once. Rank 0 has the ids of cases. Throws as RunningScores::finish().
  Evaluation finish(comm::Communicator& ranks);

 private:
  [[nodiscard]] std::vector<std::int32_t> labels(std::span<const std::int64_t> rows) const;

  const data::Dataset& dataset_;
  data::ColumnReader& reader_;
  ContextsOfRows contexts_;
  Evaluation evaluation_;  // without scores
  data::ClassNumbers numbers_;
  RunningScores scores_;
};

}  // namespace cohort::eval
