#include "cohort/eval/scorecard.h"

#include <algorithm>
#include <cmath>

namespace cohort::eval {
namespace {

/// Whether `a` is worse than `b`. What has no score is not worse than anything.
bool is_worse(const ScoredGroup& a, const ScoredGroup& b) {
  const Score &one = a.scores.front(), &other = b.scores.front();
  if (std::isnan(one.value) || std::isnan(other.value))
    return std::isnan(other.value) && !std::isnan(one.value);
  return one.higher_is_better ? one.value < other.value : one.value > other.value;
}

}  // namespace

const Score* Scorecard::find(std::string_view name) const noexcept {
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Score& score) { return score.name == name; });
  return found == all.end() ? nullptr : &*found;
}

const ScoredGroup* Scorecard::worst() const noexcept {
  if (contexts.empty() || contexts.front().groups.empty()) return nullptr;
  return &*std::min_element(contexts.front().groups.begin(), contexts.front().groups.end(), is_worse);
}

}  // namespace cohort::eval
