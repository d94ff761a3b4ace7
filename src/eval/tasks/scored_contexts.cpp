#include "eval/tasks/scored_contexts.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/student.h"

namespace cohort::eval {

std::vector<ScoredContexts> scored_contexts(const ContextNames& names,
                                            const std::function<ScoredGroup(std::size_t value)>& scores_of) {
  std::vector<ScoredContexts> all;
  for (const ContextNames::Key& key : names.keys) {
    ScoredContexts& of_key = all.emplace_back(ScoredContexts{key.name, {}});
    for (std::size_t i = key.first; i < key.first + key.count; ++i) {
      ScoredGroup group = scores_of(i);
      if (group.samples == 0) continue;
      group.name = names.values[i];
      of_key.groups.push_back(std::move(group));
    }
  }
  return all;
}

std::span<const std::int32_t> contexts_of(const AnsweredImages& images, const ContextNames& names,
                                          std::size_t image) {
  return images.contexts.subspan(image * names.keys.size(), names.keys.size());
}

double half_interval_of_mean(std::int64_t count, double squares) {
  const auto n = static_cast<double>(count);
  return student_quantile(0.05, n - 1) * std::sqrt(std::max(0.0, squares) / (n - 1) / n);
}

}  // namespace cohort::eval
