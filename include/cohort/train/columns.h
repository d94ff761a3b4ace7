#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cohort/core/error.h"
#include "cohort/data/dataset.h"
#include "cohort/train/run_config.h"

namespace cohort::train {

/// data.label, or the dataset's only label column; under a method that needs none, data.label or nothing.
/// Throws UsageError: no such column, none, or several to choose from.
std::string label_column(const RunConfig& config, const data::Description& description);

/// The column whose classes the encoder has a head for; empty: it has none. Throws as label_column().
std::string learnt_column(const RunConfig& config, const data::Description& description);

/// Fields that batches bring along for the method (method::Entry::fields), of one with a task first of all
/// what its answers are compared with. Throws UsageError.
std::vector<std::string> learnt_fields(const RunConfig& config, const data::Description& description);

/// The column that answers are compared with: that of label_column(), also under a method that needs none.
std::string scored_column(const RunConfig& config, const data::Description& description);

/// The label or context that features are judged by: eval.neighbours_of, else that of scored_column(); empty:
/// the dataset has no label. `option`: what the user set. Throws UsageError.
std::string judged_column(const RunConfig& config, const data::Description& description,
                          const std::string& option = "eval.neighbours_of");

/// How many images of a split have each value of a column (data::count_values()).
struct SplitCounts {
  std::string split;
  std::vector<std::int64_t> of_values;
  [[nodiscard]] std::int64_t all() const noexcept;
};

/// Why no answer can be scored by `column` in a split: no image has a label there. Nothing when it can.
std::optional<UsageError> obstacle_to_score(const RunConfig& config, const SplitCounts& split,
                                            const std::string& column);

/// Why no feature can be judged by `column` in a split whose neighbours are the images of `bank`; nothing
/// when it can. `option`: as for judged_column().
std::optional<UsageError> obstacle_to_judge(const SplitCounts& bank, const SplitCounts& split,
                                            const std::string& column,
                                            const std::string& option = "eval.neighbours_of");

}  // namespace cohort::train
