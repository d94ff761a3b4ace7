#include "cohort/data/context_sampler.h"

#include <algorithm>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"
#include "cohort/core/text.h"

namespace cohort::data {
namespace {

// Two kinds of shuffles of one epoch: of the rows of each context, and of the groups of all.
enum : std::uint32_t { kRows = 0, kGroups = 1 };

using RowsOfContext = std::vector<std::vector<std::int64_t>>;

RowsOfContext rows_by_context(std::span<const std::int32_t> context_of_row) {
  RowsOfContext rows;
  for (std::size_t row = 0; row < context_of_row.size(); ++row) {
    COHORT_CHECK(context_of_row[row] >= 0, "row {} has context {}", row, context_of_row[row]);
    const auto context = static_cast<std::size_t>(context_of_row[row]);
    if (context >= rows.size()) rows.resize(context + 1);
    rows[context].push_back(static_cast<std::int64_t>(row));
  }
  return rows;
}

std::int64_t size_of(const std::vector<std::int64_t>& rows) {
  return static_cast<std::int64_t>(rows.size());
}

std::string context_name(std::span<const std::string> names, std::size_t context) {
  return context < names.size() ? names[context] : fmt::format("number {}", context);
}

void check_contexts(const RowsOfContext& rows, std::span<const std::string> names,
                    std::int64_t images_per_group) {
  constexpr std::size_t kListed = 5;
  std::vector<std::string> small;
  std::int64_t smallest = images_per_group;
  for (std::size_t context = 0; context < rows.size(); ++context) {
    const std::int64_t images = size_of(rows[context]);
    if (images == 0 || images >= images_per_group) continue;
    small.push_back(
        fmt::format("{} ({} image{})", context_name(names, context), images, images == 1 ? "" : "s"));
    smallest = std::min(smallest, images);
  }
  if (small.empty()) return;
  const std::size_t count = small.size();
  small.resize(std::min(count, kListed));
  const std::string more = count > kListed ? fmt::format(" and {} more", count - kListed) : "";
  throw DataError({fmt::format("{} context{} fewer images than a group of {}: {}{}", count,
                               count == 1 ? " has" : "s have", images_per_group, join(small, ", "), more),
                   "sampler.images_per_group",
                   fmt::format("lower sampler.images_per_group to {} or drop these contexts from the dataset",
                               smallest)});
}

std::int64_t groups_of(const RowsOfContext& rows, std::int64_t images_per_group) {
  std::int64_t groups = 0;
  for (const auto& context : rows) groups += size_of(context) / images_per_group;
  return groups;
}

std::string divisors(std::size_t number) {
  std::vector<std::string> found;
  for (std::size_t i = 1; i <= number; ++i) {
    if (number % i == 0) found.push_back(std::to_string(i));
  }
  return join(found, ", ");
}

}  // namespace

ContextSampler::ContextSampler(std::span<const std::int32_t> context_of_row,
                               std::span<const std::string> context_names, const SamplerConfig& config,
                               std::uint64_t seed)
    : rows_of_context_(rows_by_context(context_of_row)), config_(config), seed_(seed) {
  COHORT_CHECK(config.images_per_group > 0 && config.groups_per_step > 0,
               "a sampler of {} groups of {} images", config.groups_per_step, config.images_per_group);
  check_contexts(rows_of_context_, context_names, config.images_per_group);
  const std::int64_t groups = groups_of(rows_of_context_, config.images_per_group);
  if (groups >= config.groups_per_step) return;
  throw DataError(
      {fmt::format("{} images make {} groups of {}, fewer than the {} groups of one step",
                   context_of_row.size(), groups, config.images_per_group, config.groups_per_step),
       "sampler.groups_per_step", "lower sampler.groups_per_step or sampler.images_per_group"});
}

std::int64_t ContextSampler::steps_per_epoch() const noexcept {
  return groups_of(rows_of_context_, config_.images_per_group) / config_.groups_per_step;
}

StepPlan ContextSampler::plan(std::int64_t epoch, std::int64_t step) const {
  COHORT_CHECK(step >= 0 && step < steps_per_epoch(), "step {} of an epoch of {}", step, steps_per_epoch());
  const std::int64_t images = config_.images_per_group;
  std::vector<std::pair<std::int32_t, std::int64_t>> groups;  // context, number within the context
  for (std::size_t context = 0; context < rows_of_context_.size(); ++context) {
    for (std::int64_t i = 0; i < size_of(rows_of_context_[context]) / images; ++i) {
      groups.emplace_back(static_cast<std::int32_t>(context), i);
    }
  }
  const auto order = permutation(static_cast<std::int64_t>(groups.size()),
                                 RandomStream({seed_, Purpose::shuffle, epoch, 0, kGroups}));
  StepPlan plan;
  std::vector<std::vector<std::int64_t>> shuffled(
      rows_of_context_.size());  // only those that this step needs
  for (std::int64_t number = 0; number < config_.groups_per_step; ++number) {
    const auto [context, within] = groups[static_cast<std::size_t>(
        order[static_cast<std::size_t>(step * config_.groups_per_step + number)])];
    const auto& rows = rows_of_context_[static_cast<std::size_t>(context)];
    auto& places = shuffled[static_cast<std::size_t>(context)];
    if (places.empty())
      places = permutation(size_of(rows), RandomStream({seed_, Purpose::shuffle, epoch, context, kRows}));
    Group& group = plan.emplace_back(Group{context, number, {}});
    for (std::int64_t i = within * images; i < (within + 1) * images; ++i) {
      group.rows.push_back(rows[static_cast<std::size_t>(places[static_cast<std::size_t>(i)])]);
    }
  }
  return plan;
}

std::span<const Group> share(const StepPlan& plan, int rank, int size) {
  COHORT_CHECK(size > 0 && rank >= 0 && rank < size, "rank {} of {}", rank, size);
  const auto ranks = static_cast<std::size_t>(size);
  if (plan.size() % ranks != 0) {
    throw UsageError({fmt::format("{} ranks cannot share {} groups evenly", size, plan.size()),
                      "sampler.groups_per_step",
                      fmt::format("use {} ranks, or make sampler.groups_per_step a multiple of {}",
                                  divisors(plan.size()), size)});
  }
  const std::size_t groups = plan.size() / ranks;
  return std::span(plan).subspan(static_cast<std::size_t>(rank) * groups, groups);
}

StepPlan evaluation_plan(std::span<const std::int32_t> context_of_row, std::int64_t images_per_group) {
  COHORT_CHECK(images_per_group > 0, "groups of {} images", images_per_group);
  const RowsOfContext contexts = rows_by_context(context_of_row);
  StepPlan plan;
  for (std::size_t context = 0; context < contexts.size(); ++context) {
    const auto& rows = contexts[context];
    for (std::int64_t start = 0; start < size_of(rows); start += images_per_group) {
      const std::int64_t end = std::min(start + images_per_group, size_of(rows));
      plan.push_back({static_cast<std::int32_t>(context),
                      static_cast<std::int64_t>(plan.size()),
                      {rows.begin() + start, rows.begin() + end}});
    }
  }
  return plan;
}

}  // namespace cohort::data
