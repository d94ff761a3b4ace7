#include "eval/contexts_of_rows.h"

#include "cohort/data/grouping.h"
#include "cohort/eval/evaluation.h"

namespace cohort::eval {

std::vector<std::string> scored_context_keys(const EvalConfig& config, const std::string& group_by,
                                             const data::Description& description) {
  std::vector<std::string> keys = config.contexts;
  if (keys.empty()) keys = data::grouping_keys(group_by);
  if (config.contexts.empty() && keys.size() > 1) keys.resize(1);
  for (const std::string& key : keys) (void)description.context(key);
  return keys;
}

ContextsOfRows::ContextsOfRows(const data::Dataset& dataset, const std::string& group_by,
                               const EvalConfig& config)
    : dataset_(dataset) {
  for (const std::string& key : scored_context_keys(config, group_by, dataset.description())) {
    const std::vector<std::string>& values = dataset.description().context(key).values;
    (void)dataset.context_runs(key);
    names_.keys.push_back({key, names_.values.size(), values.size()});
    names_.values.insert(names_.values.end(), values.begin(), values.end());
  }
}

std::vector<std::int32_t> ContextsOfRows::of(std::span<const std::int64_t> rows) const {
  std::vector<std::int32_t> found;
  found.reserve(rows.size() * names_.keys.size());
  for (const std::int64_t row : rows) {
    for (const ContextNames::Key& key : names_.keys)
      found.push_back(static_cast<std::int32_t>(key.first) + dataset_.context_runs(key.name).at(row));
  }
  return found;
}

}  // namespace cohort::eval
