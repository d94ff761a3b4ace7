#include "cohort/data/context_sampler.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"
#include "cohort/core/text.h"

#include "data/group_pools.h"

namespace cohort::data {
namespace {

// Keeps the shuffle of groups apart from those of rows, which belong to a context.
constexpr std::uint32_t kGroupsOfEpoch = UINT32_MAX;

StepPlan planned(std::int64_t first, std::int64_t groups, auto&& group_at) {
  StepPlan plan;
  for (std::int64_t number = first; number < first + groups; ++number) {
    plan.push_back(group_at(number));
    plan.back().number = number;
  }
  return plan;
}

std::string divisors(std::int64_t number) {
  std::vector<std::string> found;
  for (std::int64_t i = 1; i <= number; ++i) {
    if (number % i == 0) found.push_back(std::to_string(i));
  }
  return join(found, ", ");
}

}  // namespace

std::span<const config::EnumName<SmallContexts>> enum_names(SmallContexts) {
  static constexpr std::array<config::EnumName<SmallContexts>, 4> kNames{{{SmallContexts::refuse, "refuse"},
                                                                          {SmallContexts::pad, "pad"},
                                                                          {SmallContexts::drop, "drop"},
                                                                          {SmallContexts::merge, "merge"}}};
  return kNames;
}

std::span<const config::EnumName<GroupOrder>> enum_names(GroupOrder) {
  static constexpr std::array<config::EnumName<GroupOrder>, 2> kNames{
      {{GroupOrder::shuffled, "shuffled"}, {GroupOrder::cells, "cells"}}};
  return kNames;
}

ContextSampler::ContextSampler(std::vector<ContextRun> runs, std::span<const std::string> context_names,
                               const SamplerConfig& config, std::uint64_t seed,
                               std::span<const std::int32_t> label_of_row, int ranks)
    : config_(config), seed_(seed) {
  COHORT_CHECK(config.images_per_group > 0 && config.groups_per_step > 0 && config.block > 0,
               "a sampler of {} groups of {} images in blocks of {}", config.groups_per_step,
               config.images_per_group, config.block);
  pools_ = std::make_shared<GroupPools>(std::move(runs), context_names, config, label_of_row);
  if (pools_->groups() >= config.groups_per_step) return;
  throw DataError(
      {fmt::format("{} images make {} groups of {}, fewer than the {} groups of one step", pools_->images(),
                   pools_->groups(), config.images_per_group, config.groups_per_step),
       "sampler.groups_per_step",
       fmt::format("lower them: {}", steps_that_fit(config, pools_->images(), ranks))});
}

std::int64_t ContextSampler::steps_per_epoch() const noexcept {
  return pools_->groups() / config_.groups_per_step;
}

std::int64_t ContextSampler::images() const noexcept {
  return pools_->images();
}

StepPlan ContextSampler::plan(std::int64_t epoch, std::int64_t step, int rank, int size) const {
  COHORT_CHECK(step >= 0 && step < steps_per_epoch(), "step {} of an epoch of {}", step, steps_per_epoch());
  COHORT_CHECK(size > 0 && rank >= 0 && rank < size && config_.groups_per_step % size == 0,
               "rank {} of {} with {} groups", rank, size, config_.groups_per_step);
  const std::int64_t groups = config_.groups_per_step / size, first = step * config_.groups_per_step;
  if (config_.order == GroupOrder::cells) {
    return planned(rank * groups, groups,
                   [&](std::int64_t number) { return pools_->group_in_turn(first + number, epoch, seed_); });
  }
  const Permutation order(pools_->groups(),
                          RandomStream({seed_, Purpose::shuffle, epoch, 0, kGroupsOfEpoch}));
  return planned(rank * groups, groups,
                 [&](std::int64_t number) { return pools_->group(order(first + number), epoch, seed_); });
}

void check_ranks(const SamplerConfig& config, int ranks) {
  if (config.groups_per_step % ranks == 0) return;
  throw UsageError({fmt::format("{} ranks cannot share {} groups evenly", ranks, config.groups_per_step),
                    "sampler.groups_per_step",
                    fmt::format("use {} ranks, or make sampler.groups_per_step a multiple of {}",
                                divisors(config.groups_per_step), ranks)});
}

std::string steps_that_fit(const SamplerConfig& config, std::int64_t images, int ranks) {
  constexpr std::int64_t kSteps = 10;
  const std::int64_t of_step = std::max<std::int64_t>(images / kSteps, ranks);
  const std::int64_t group = std::min(config.images_per_group, of_step / ranks);
  return fmt::format("sampler.groups_per_step={} sampler.images_per_group={}",
                     of_step / group / ranks * ranks, group);
}

StepPlan evaluation_plan(std::vector<ContextRun> runs, std::int64_t images_per_group) {
  COHORT_CHECK(images_per_group > 0, "groups of {} images", images_per_group);
  std::stable_sort(runs.begin(), runs.end(),
                   [](const ContextRun& a, const ContextRun& b) { return a.context < b.context; });
  StepPlan plan;
  for (const ContextRun& run : runs) {
    for (std::int64_t row = run.first; row < run.first + run.rows; ++row) {
      const bool fits = !plan.empty() && plan.back().context == run.context &&
                        std::ssize(plan.back().rows) < images_per_group;
      if (!fits) plan.push_back({run.context, std::ssize(plan), {}});
      plan.back().rows.push_back(row);
    }
  }
  return plan;
}

}  // namespace cohort::data
