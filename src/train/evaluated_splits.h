#pragma once
#include <string>
#include <vector>

#include "cohort/data/dataset.h"
#include "cohort/train/run_config.h"

namespace cohort::train {

/// The splits that a run evaluates: those of eval.splits, or all but the training split.
class EvaluatedSplits {
 public:
  /// A dictionary of contexts cannot serve contexts that training never sees: such a split is refused when
  /// eval.splits names it, and left out with a warning otherwise. Throws UsageError or DataError.
  EvaluatedSplits(const RunConfig& config, const data::Dataset& training);

  [[nodiscard]] const std::vector<data::Dataset>& datasets() const noexcept { return datasets_; }
  [[nodiscard]] bool empty() const noexcept { return datasets_.empty(); }
  [[nodiscard]] std::vector<std::string> names() const;
  /// Context key that groups images and names contexts in scores.
  [[nodiscard]] const std::string& group_key() const noexcept { return group_key_; }

 private:
  std::string group_key_;
  std::vector<data::Dataset> datasets_;
};

}  // namespace cohort::train
