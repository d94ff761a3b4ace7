#include "cohort/train/columns.h"

#include <cstddef>
#include <numeric>

#include <fmt/format.h>

#include "cohort/core/text.h"
#include "cohort/method/registry.h"

namespace cohort::train {
namespace {

/// Answers have a column for each value, and a table has one for each pair of them.
void check_judgeable(const data::Description& description, const std::string& column,
                     const std::string& option) {
  constexpr std::int64_t kMost = 2000;
  const std::int64_t values = std::ssize(description.values(column));
  if (values <= kMost || description.has_label(column)) return;
  throw UsageError({fmt::format("'{}' has {} values, and features are judged by at most {}", column,
                                format_count(values), format_count(kMost)),
                    option, "choose a label or context with fewer values"});
}

}  // namespace

std::string label_column(const RunConfig& config, const data::Description& description) {
  if (config.data.label.empty() && !config.method.traits().needs_label) return "";
  return scored_column(config, description);
}

std::string learnt_column(const RunConfig& config, const data::Description& description) {
  return config.method.traits().learns_classes ? label_column(config, description) : "";
}

std::vector<std::string> learnt_fields(const RunConfig& config, const data::Description& description) {
  const method::Entry& entry = config.method.entry();
  if (entry.fields == nullptr) return {};
  return entry.fields(config.method.options(), description);
}

std::string scored_column(const RunConfig& config, const data::Description& description) {
  if (!config.data.label.empty()) return description.label(config.data.label).name;
  if (description.labels.size() == 1) return description.labels.front().name;
  std::vector<std::string> names;
  for (const data::LabelColumn& column : description.labels) names.push_back(column.name);
  if (names.empty()) {
    throw UsageError({"the dataset has no label column to learn", config.data.path.string(),
                      "convert it with labels, or choose a method that needs no label (docs/methods.md)"});
  }
  throw UsageError({"data.label is empty and the dataset has several label columns",
                    config.data.path.string(),
                    fmt::format("set data.label to one of {}", join(names, ", "))});
}

std::string judged_column(const RunConfig& config, const data::Description& description,
                          const std::string& option) {
  const std::string& asked = config.eval.neighbours_of;
  if (!asked.empty()) {
    check_judgeable(description, asked, option);
    return asked;
  }
  if (config.data.label.empty() && description.labels.empty()) return "";
  return scored_column(config, description);
}

std::int64_t SplitCounts::all() const noexcept {
  return std::accumulate(of_values.begin(), of_values.end(), std::int64_t{0});
}

std::optional<UsageError> obstacle_to_score(const RunConfig& config, const SplitCounts& split,
                                            const std::string& column) {
  if (split.all() > 0) return std::nullopt;
  return UsageError(
      {fmt::format("split '{}' has no image with a label '{}'", split.split, column),
       config.data.path.string(),
       "choose another label column (data.label), or take the split out (eval.splits, --split)"});
}

std::optional<UsageError> obstacle_to_judge(const SplitCounts& bank, const SplitCounts& split,
                                            const std::string& column, const std::string& option) {
  bool any = false;
  for (std::size_t i = 0; i < split.of_values.size(); ++i)
    any = any || (split.of_values[i] > 0 && bank.of_values[i] > 0);
  if (any) return std::nullopt;
  return UsageError({fmt::format("no image of split '{}' has a '{}' that images of split '{}' have",
                                 split.split, column, bank.split),
                     option,
                     "choose another label or context, or splits that share its values: cohort-data split "
                     "--hold-out-images 4"});
}

}  // namespace cohort::train
