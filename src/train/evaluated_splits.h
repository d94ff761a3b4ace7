#pragma once
#include <optional>
#include <string>
#include <vector>

#include "cohort/data/dataset.h"
#include "cohort/data/signature.h"
#include "cohort/eval/evaluation.h"
#include "cohort/train/run_config.h"

namespace cohort::train {

/// The splits that a run evaluates: those of eval.splits, or all but the training split. None under a method
/// that learns no classes, unless eval.neighbours judges its features.
class EvaluatedSplits {
 public:
  /// Collective. A split without labels has nothing to score, and a dictionary of contexts cannot serve
  /// contexts that training never sees: such a split is refused when eval.splits names it, and left out with
  /// a warning otherwise. One without images is passed over with a warning. Throws UsageError (also: fewer
  /// labelled training images than eval.neighbours) or DataError.
  EvaluatedSplits(const RunConfig& config, const data::Dataset& training, comm::Communicator& ranks);

  [[nodiscard]] const std::vector<data::Dataset>& datasets() const noexcept { return datasets_; }
  [[nodiscard]] bool empty() const noexcept { return datasets_.empty(); }
  [[nodiscard]] std::vector<std::string> names() const;
  /// Label to compare answers with, and the context key that groups images and names contexts in scores.
  [[nodiscard]] const eval::EvaluationColumns& columns() const noexcept { return columns_; }
  /// The training split, whose images are neighbours; null without eval.neighbours.
  [[nodiscard]] const data::Dataset* bank() const noexcept { return bank_ ? &*bank_ : nullptr; }

 private:
  void add(data::Dataset dataset, const RunConfig& config, const data::Signature& signature);

  eval::EvaluationColumns columns_;
  std::optional<data::Dataset> bank_;
  std::vector<data::Dataset> datasets_;
};

}  // namespace cohort::train
