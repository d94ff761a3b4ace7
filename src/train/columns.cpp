#include "cohort/train/columns.h"

#include <algorithm>
#include <vector>

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

std::optional<UsageError> obstacle_to_judge(const data::Dataset& bank, const data::Dataset& split,
                                            const std::string& column, const std::string& option) {
  std::vector<bool> known(bank.description().values(column).size());
  for (const std::int32_t value : bank.column(column)) {
    if (value >= 0) known[static_cast<std::size_t>(value)] = true;
  }
  const std::vector<std::int32_t>& values = split.column(column);
  const bool any = std::any_of(values.begin(), values.end(), [&](std::int32_t value) {
    return value >= 0 && known[static_cast<std::size_t>(value)];
  });
  if (any) return std::nullopt;
  return UsageError({fmt::format("no image of split '{}' has a '{}' that images of split '{}' have",
                                 split.split(), column, bank.split()),
                     option,
                     "choose another label or context, or splits that share its values: cohort-data split "
                     "--hold-out-images 4"});
}

}  // namespace cohort::train
