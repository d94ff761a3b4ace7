#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cohort/data/context_runs.h"
#include "cohort/data/sampler_config.h"

namespace cohort::data {

class GroupPools;

/// Images of one context that are trained together; never split over ranks.
struct Group {
  /// Index of the context that groups; 0 when rows are shuffled freely, -1 for a group of several too small
  /// contexts.
  std::int32_t context = 0;
  std::int64_t number = 0;         ///< of the group within the global batch
  std::vector<std::int64_t> rows;  ///< dataset rows
  /// Of each row the number of the pass through its context, or the class in it; empty: 0. An image that
  /// comes again in an epoch has another one, and is changed otherwise.
  std::vector<std::int32_t> copies{};
};

/// One global batch, or what one rank has of it.
using StepPlan = std::vector<Group>;

/// Decides which images meet in which step. A pure function of (seed, epoch, step): it keeps no state and
/// does not communicate, so that a resume needs two numbers and any number of ranks trains on the same
/// groups. In an epoch the rows of every context are shuffled and cut into groups, the groups of all contexts
/// are shuffled and cut into steps. What does not fill a group or a step is left out of that epoch; which
/// images that are changes each epoch. Memory: proportional to the number of runs, not of rows (but 4 bytes a
/// row where labels count). Time of a plan: proportional to the rows in it. Policies and how random the
/// order is: docs/sampler.md. Const functions are safe from any thread.
class ContextSampler {
 public:
  /// `runs`: rows to train on, by context, as ContextRuns gives them; rows of one context may lie in several
  /// runs. `context_names` serve messages. `label_of_row`: [dataset rows], needed where
  /// config.needs_labels(). Throws DataError naming the contexts that have fewer images than a group
  /// (small_contexts: refuse), those that lack a class (order: cells), and when all groups do not fill one
  /// step, with numbers that do for `ranks`.
  ContextSampler(std::vector<ContextRun> runs, std::span<const std::string> context_names,
                 const SamplerConfig& config, std::uint64_t seed,
                 std::span<const std::int32_t> label_of_row = {}, int ranks = 1);

  [[nodiscard]] std::int64_t steps_per_epoch() const noexcept;
  /// Images that epochs draw from: without those of contexts that are dropped.
  [[nodiscard]] std::int64_t images() const noexcept;
  /// The global batch. 0 ≤ step < steps_per_epoch(): the step within the epoch.
  [[nodiscard]] StepPlan plan(std::int64_t epoch, std::int64_t step) const { return plan(epoch, step, 0, 1); }
  /// The whole groups of it that `rank` of `size` trains on, the same number on every rank. Precondition:
  /// `size` divides groups_per_step (check_ranks()).
  [[nodiscard]] StepPlan plan(std::int64_t epoch, std::int64_t step, int rank, int size) const;

 private:
  SamplerConfig config_;
  std::uint64_t seed_;
  std::shared_ptr<const GroupPools> pools_;
};

/// Throws UsageError naming the divisors when `ranks` does not divide the groups of a step.
void check_ranks(const SamplerConfig& config, int ranks);

/// "sampler.groups_per_step=4 sampler.images_per_group=15": what divides `images` into ten steps or so, with
/// groups of the size they have if that goes, for `ranks` ranks.
std::string steps_that_fit(const SamplerConfig& config, std::int64_t images, int ranks);

/// Evaluation: rows of every context in dataset order, cut into groups of `images_per_group`; the last one of
/// a context may be smaller. Every row occurs exactly once. Contexts in order of their index.
StepPlan evaluation_plan(std::vector<ContextRun> runs, std::int64_t images_per_group);

}  // namespace cohort::data
