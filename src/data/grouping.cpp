#include "cohort/data/grouping.h"

#include <algorithm>
#include <map>
#include <utility>

namespace cohort::data {
namespace {

/// Both columns of a dataset as one: `inner` divides the contexts of `outer`.
Grouping combined(const Grouping& outer, const Grouping& inner) {
  Grouping both;
  std::map<std::pair<std::int32_t, std::int32_t>, std::int32_t> indices;
  auto next = inner.runs.begin();
  for (const ContextRun& run : outer.runs) {
    const std::int64_t end = run.first + run.rows;
    for (std::int64_t row = run.first; row < end;) {
      while (next->first + next->rows <= row) ++next;
      const auto [found, is_new] =
          indices.try_emplace({run.context, next->context}, static_cast<std::int32_t>(both.values.size()));
      if (is_new) {
        both.values.push_back(outer.values[static_cast<std::size_t>(run.context)] + " / " +
                              inner.values[static_cast<std::size_t>(next->context)]);
      }
      const std::int64_t behind = std::min(end, next->first + next->rows);
      both.runs.push_back({found->second, row, behind - row});
      row = behind;
    }
  }
  return both;
}

}  // namespace

std::vector<std::string> grouping_keys(const std::string& keys) {
  std::vector<std::string> names;
  for (std::size_t begin = 0; begin < keys.size();) {
    const std::size_t end = std::min(keys.find(',', begin), keys.size());
    std::string name = keys.substr(begin, end - begin);
    std::erase(name, ' ');
    names.push_back(std::move(name));
    begin = end + 1;
  }
  return names;
}

Grouping grouping_of(const Dataset& dataset, const std::string& keys) {
  Grouping grouping{{{0, 0, dataset.rows()}}, {"all images"}};
  bool first = true;
  for (const std::string& key : grouping_keys(keys)) {
    Grouping of_key{dataset.context_runs(key).runs(), dataset.description().context(key).values};
    grouping = first ? std::move(of_key) : combined(grouping, of_key);
    first = false;
  }
  return grouping;
}

}  // namespace cohort::data
