#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cohort/config/field.h"

namespace cohort::data {

/// Images of one context that are trained together; never split over ranks.
struct Group {
  std::int32_t context =
      0;  ///< index into the vocabulary of the key that groups; 0 when rows are shuffled freely
  std::int64_t number = 0;         ///< of the group within the global batch
  std::vector<std::int64_t> rows;  ///< dataset rows
};

/// One global batch: the same list on every rank.
using StepPlan = std::vector<Group>;

struct SamplerConfig {
  std::int64_t groups_per_step = 16;
  std::int64_t images_per_group = 32;
  std::string group_by;

  template <class Visit>
  void fields(Visit& visit) {
    visit("groups_per_step", groups_per_step,
          "context groups in the global batch; the number of ranks divides it",
          config::Range<std::int64_t>{1, 1 << 20});
    visit("images_per_group", images_per_group, "images of one context that share a token",
          config::Range<std::int64_t>{1, 1 << 16});
    visit("group_by", group_by,
          "context key whose images form groups; empty: the first of context.keys; 'none': groups of any "
          "images");
  }
};

/// Decides which images meet in which step. A pure function of (seed, epoch, step): it knows nothing of
/// ranks, keeps no state and does not communicate, so that a resume needs two numbers and any number of ranks
/// trains on the same groups. In an epoch the rows of every context are shuffled and cut into groups, the
/// groups of all contexts are shuffled and cut into steps. What does not fill a group or a step is left out
/// of that epoch; which images that are changes each epoch.
class ContextSampler {
 public:
  /// `context_of_row` [rows]; `context_names` serve messages. Contexts without rows are fine (they belong to
  /// other splits). Throws DataError naming the contexts that have fewer images than a group, and when all
  /// groups do not fill one step.
  ContextSampler(std::span<const std::int32_t> context_of_row, std::span<const std::string> context_names,
                 const SamplerConfig& config, std::uint64_t seed);

  [[nodiscard]] std::int64_t steps_per_epoch() const noexcept;
  /// 0 ≤ step < steps_per_epoch(): the step within the epoch.
  [[nodiscard]] StepPlan plan(std::int64_t epoch, std::int64_t step) const;

 private:
  std::vector<std::vector<std::int64_t>> rows_of_context_;
  SamplerConfig config_;
  std::uint64_t seed_;
};

/// The whole groups that `rank` of `size` trains on, the same number on every rank.
/// Throws UsageError naming the divisors when size does not divide the number of groups.
std::span<const Group> share(const StepPlan& plan, int rank, int size);

/// Evaluation: rows of every context in dataset order, cut into groups of `images_per_group`; the last one of
/// a context may be smaller. Every row occurs exactly once. Contexts in order of their index.
StepPlan evaluation_plan(std::span<const std::int32_t> context_of_row, std::int64_t images_per_group);

}  // namespace cohort::data
