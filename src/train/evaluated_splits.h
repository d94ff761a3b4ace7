#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cohort/data/column_reader.h"
#include "cohort/data/dataset.h"
#include "cohort/data/signature.h"
#include "cohort/eval/evaluation.h"
#include "cohort/train/columns.h"
#include "cohort/train/run_config.h"

namespace cohort::train {

/// A split that a run evaluates.
struct EvaluatedSplit {
  data::Dataset dataset;
  bool by_neighbours = false;  ///< whether its features are judged
};

/// The splits that a run evaluates: those of eval.splits, or all but the training split. Under a method that
/// learns no classes and has no task those whose features eval.neighbours can judge.
class EvaluatedSplits {
 public:
  /// Collective. A split without labels has nothing to score, and a dictionary of contexts cannot serve
  /// contexts that training never sees: such a split is refused when eval.splits names it, and left out with
  /// a warning otherwise, as is one of which no value of eval.neighbours_of has neighbours. One without
  /// images is passed over with a warning. Throws UsageError (also: fewer labelled training images than
  /// eval.neighbours) or DataError.
  EvaluatedSplits(const RunConfig& config, const data::Dataset& training, comm::Communicator& ranks);

  [[nodiscard]] const std::vector<EvaluatedSplit>& splits() const noexcept { return splits_; }
  /// Whether there is nothing to find out.
  [[nodiscard]] bool empty() const noexcept { return splits_.empty() && !bank_; }
  /// Whether the images of the training split are each other's neighbours, because there is no other split to
  /// score.
  [[nodiscard]] bool judges_training_split() const noexcept {
    return splits_.empty() && bank_ && !judged_.label.empty();
  }
  /// "test, unseen_test"; "features of train" when there are none to score.
  [[nodiscard]] std::string text() const;
  /// Label that answers of the model's head are compared with (empty: it has none), and the context key that
  /// groups images and names contexts in scores.
  [[nodiscard]] const eval::EvaluationColumns& columns() const noexcept { return columns_; }
  /// The same for answers of neighbours; the label may be a context, and is empty where there is none to
  /// judge by.
  [[nodiscard]] const eval::EvaluationColumns& judged() const noexcept { return judged_; }
  /// The training split, whose images are neighbours and whose features are described; null without
  /// eval.neighbours.
  [[nodiscard]] const data::Dataset* bank() const noexcept { return bank_ ? &*bank_ : nullptr; }
  /// What the method's answers are scored as; no fields: they are not.
  [[nodiscard]] const eval::TaskColumns& task() const noexcept { return task_; }
  /// Reads the columns of the bank or of a split.
  [[nodiscard]] data::ColumnReader reader_of(const data::Dataset& dataset) const;

 private:
  /// Of the values of `column` in a split.
  [[nodiscard]] SplitCounts counts_of(const data::Dataset& dataset, const std::string& column,
                                      comm::Communicator& ranks) const;
  void add(data::Dataset dataset, const RunConfig& config, const data::Signature& signature,
           comm::Communicator& ranks);

  eval::EvaluationColumns columns_, judged_;
  eval::TaskColumns task_;
  std::filesystem::path folder_;
  data::Description description_;  // with all channels
  std::optional<data::Dataset> bank_;
  SplitCounts bank_counts_;  // of what features are judged by
  std::vector<EvaluatedSplit> splits_;
};

}  // namespace cohort::train
