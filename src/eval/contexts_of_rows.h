#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cohort/data/dataset.h"
#include "cohort/eval/eval_config.h"
#include "cohort/eval/task.h"

namespace cohort::eval {

/// The contexts of a split that scores are given for: by the keys of eval.contexts, else by the first one of
/// those whose images form groups.
class ContextsOfRows {
 public:
  /// `group_by`: as sampler.group_by. `dataset` has to outlive it. Throws UsageError: no such key.
  ContextsOfRows(const data::Dataset& dataset, const std::string& group_by, const EvalConfig& config);

  [[nodiscard]] const ContextNames& names() const noexcept { return names_; }
  /// [rows, keys], each of names().values.
  [[nodiscard]] std::vector<std::int32_t> of(std::span<const std::int64_t> rows) const;

 private:
  const data::Dataset& dataset_;
  ContextNames names_;
};

}  // namespace cohort::eval
