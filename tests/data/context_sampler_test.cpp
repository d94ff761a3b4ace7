#include "cohort/data/context_sampler.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

#include "data/sampler_support.h"

namespace cohort::data {
namespace {

TEST(ContextSampler, AnEpochHasEachRowAtMostOnceInWholePureGroups) {
  const auto contexts = contexts_with({10, 7, 9});
  const ContextSampler sampler(runs_of(contexts), kNames,
                               {.groups_per_step = 2, .images_per_group = 3, .group_by = ""}, 1);

  std::set<std::int64_t> seen;
  for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
    const StepPlan plan = sampler.plan(4, step);
    ASSERT_EQ(plan.size(), 2U);
    for (std::size_t g = 0; g < plan.size(); ++g) {
      EXPECT_EQ(plan[g].number, static_cast<std::int64_t>(g));
      ASSERT_EQ(plan[g].rows.size(), 3U);
      for (const std::int64_t row : plan[g].rows) {
        EXPECT_EQ(contexts[static_cast<std::size_t>(row)], plan[g].context);
        EXPECT_TRUE(seen.insert(row).second) << "row " << row << " occurs twice";
      }
    }
  }

  EXPECT_EQ(sampler.steps_per_epoch(), 4);  // 3 + 2 + 3 groups
  EXPECT_EQ(seen.size(), 24U);
}

TEST(ContextSampler, IsAPureFunctionOfSeedEpochAndStep) {
  const auto contexts = contexts_with({40, 40});
  const SamplerConfig config{.groups_per_step = 4, .images_per_group = 5, .group_by = ""};
  const ContextSampler one(runs_of(contexts), kNames, config, 7), same(runs_of(contexts), kNames, config, 7),
      other(runs_of(contexts), kNames, config, 8);
  const auto rows = [](const StepPlan& plan) {
    std::vector<std::int64_t> all;
    for (const Group& group : plan) all.insert(all.end(), group.rows.begin(), group.rows.end());
    return all;
  };

  EXPECT_EQ(rows(one.plan(3, 2)), rows(same.plan(3, 2)));
  EXPECT_NE(rows(one.plan(3, 2)), rows(one.plan(4, 2)));
  EXPECT_NE(rows(one.plan(3, 2)), rows(one.plan(3, 1)));
  EXPECT_NE(rows(one.plan(3, 2)), rows(other.plan(3, 2)));
}

TEST(ContextSampler, WhatIsLeftOutChangesFromEpochToEpoch) {
  const auto contexts = contexts_with({11});
  const ContextSampler sampler(runs_of(contexts), kNames,
                               {.groups_per_step = 1, .images_per_group = 10, .group_by = ""}, 0);

  std::set<std::int64_t> left_out;
  for (std::int64_t epoch = 0; epoch < 20; ++epoch) {
    const StepPlan plan = sampler.plan(epoch, 0);
    const std::set<std::int64_t> used(plan[0].rows.begin(), plan[0].rows.end());
    for (std::int64_t row = 0; row < 11; ++row) {
      if (!used.contains(row)) left_out.insert(row);
    }
  }

  EXPECT_GT(left_out.size(), 3U);
}

TEST(ContextSampler, NamesSmallContextsWithTheirCountsAndTheFix) {
  const auto contexts = contexts_with({9, 3, 9, 1});

  const std::string message = message_of([&] {
    ContextSampler(runs_of(contexts), kNames, {.groups_per_step = 1, .images_per_group = 4, .group_by = ""},
                   0);
  });

  EXPECT_NE(message.find("2 contexts have fewer images than a group of 4: south (3 images), west (1 image)"),
            std::string::npos)
      << message;
  EXPECT_NE(message.find("lower sampler.images_per_group to 1, or choose what becomes of small contexts"),
            std::string::npos)
      << message;
}

TEST(ContextSampler, ListsFiveSmallContextsAndCountsTheRest) {
  const auto contexts = contexts_with({1, 1, 1, 1, 1, 1, 1, 9});

  const std::string message = message_of([&] {
    ContextSampler(runs_of(contexts), kNames, {.groups_per_step = 1, .images_per_group = 4, .group_by = ""},
                   0);
  });

  EXPECT_NE(message.find("a (1 image) and 2 more"), std::string::npos) << message;
}

TEST(ContextSampler, RefusesAStepLargerThanTheDataset) {
  const auto contexts = contexts_with({8, 8});

  const std::string message = message_of([&] {
    ContextSampler(runs_of(contexts), kNames, {.groups_per_step = 5, .images_per_group = 4, .group_by = ""},
                   0, {}, 4);
  });

  EXPECT_NE(message.find("16 images make 4 groups of 4, fewer than the 5 groups of one step"),
            std::string::npos)
      << message;
  EXPECT_NE(message.find("sampler.groups_per_step=4 sampler.images_per_group=1"), std::string::npos)
      << "4 ranks divide them: " << message;
}

TEST(ContextSampler, ContextsWithoutRowsAreFine) {
  const std::vector<std::int32_t> contexts{0, 0, 2, 2};

  const ContextSampler sampler(runs_of(contexts), kNames,
                               {.groups_per_step = 2, .images_per_group = 2, .group_by = ""}, 0);

  EXPECT_EQ(sampler.steps_per_epoch(), 1);
}

TEST(ContextSampler, RanksPartitionThePlan) {
  const ContextSampler sampler(runs_of(contexts_with({30, 30})), kNames,
                               {.groups_per_step = 12, .images_per_group = 5, .group_by = ""}, 3);
  const StepPlan whole = sampler.plan(2, 0);
  for (const int size : {1, 2, 3, 4, 6, 12}) {
    StepPlan joined;
    for (int rank = 0; rank < size; ++rank) {
      const StepPlan part = sampler.plan(2, 0, rank, size);
      EXPECT_EQ(part.size(), whole.size() / static_cast<std::size_t>(size));
      joined.insert(joined.end(), part.begin(), part.end());
    }
    ASSERT_EQ(joined.size(), whole.size());
    for (std::size_t i = 0; i < whole.size(); ++i) {
      EXPECT_EQ(joined[i].number, static_cast<std::int64_t>(i));
      EXPECT_EQ(joined[i].rows, whole[i].rows);
    }
  }
}

TEST(CheckRanks, NamesTheDivisors) {
  const SamplerConfig config{.groups_per_step = 12, .group_by = ""};
  check_ranks(config, 4);

  const std::string message = message_of([&] { check_ranks(config, 5); });

  EXPECT_NE(message.find("5 ranks cannot share 12 groups evenly"), std::string::npos) << message;
  EXPECT_NE(message.find("use 1, 2, 3, 4, 6, 12 ranks"), std::string::npos) << message;
}

TEST(ContextRuns, KnowTheContextOfEveryRow) {
  ContextRuns runs;
  runs.append(std::vector<std::int32_t>{4, 4, 1});
  runs.append(std::vector<std::int32_t>{1, 0});

  EXPECT_EQ(runs.runs(), (std::vector<ContextRun>{{4, 0, 2}, {1, 2, 2}, {0, 4, 1}}));
  const std::vector<std::int32_t> expected{4, 4, 1, 1, 0};
  for (std::size_t row = 0; row < expected.size(); ++row)
    EXPECT_EQ(runs.at(static_cast<std::int64_t>(row)), expected[row]);
  EXPECT_THROW((void)runs.at(5), Bug);
}

TEST(EvaluationPlan, HasEveryRowOnceInOrder) {
  const StepPlan plan = evaluation_plan(runs_of({1, 0, 1, 1, 3}), 2);

  ASSERT_EQ(plan.size(), 4U);
  const std::vector<std::vector<std::int64_t>> rows{{1}, {0, 2}, {3}, {4}};
  const std::vector<std::int32_t> contexts{0, 1, 1, 3};
  for (std::size_t i = 0; i < plan.size(); ++i) {
    EXPECT_EQ(plan[i].rows, rows[i]);
    EXPECT_EQ(plan[i].context, contexts[i]);
    EXPECT_EQ(plan[i].number, static_cast<std::int64_t>(i));
  }
}

/// A random dataset and configuration; what holds for every one of them.
struct RandomCase {
  explicit RandomCase(std::int64_t round) {
    RandomStream random({.seed = 20, .purpose = Purpose::synthetic, .time = round});
    const auto below = [&](std::uint64_t bound) { return static_cast<std::int64_t>(random.below(bound)); };
    std::vector<std::int64_t> counts(1 + random.below(6));
    for (auto& count : counts) count = below(40);
    contexts = contexts_with(counts);
    for (std::size_t i = 0; i < contexts.size(); ++i)
      labels.push_back(static_cast<std::int32_t>(below(3)) - 1);
    config.groups_per_step = 1 + below(6);
    config.images_per_group = 1 + below(7);
    config.small_contexts = static_cast<SmallContexts>(below(4));
    config.balance = std::vector{1.0, 1.0, 0.5, 0.0}[random.below(4)];
    config.balance_labels = random.below(3) == 0;
    config.block = std::vector<std::int64_t>{1, 1, 3, 8}[random.below(4)];
  }
  [[nodiscard]] ContextSampler sampler() const { return {runs_of(contexts), kNames, config, 1, labels}; }
  /// Every image at most once an epoch.
  [[nodiscard]] bool is_natural() const { return config.balance == 1.0 && !config.balance_labels; }

  std::vector<std::int32_t> contexts, labels;
  SamplerConfig config;
};

void check_group(const RandomCase& tested, const Group& group) {
  ASSERT_EQ(std::ssize(group.rows), tested.config.images_per_group);
  const std::set<std::int64_t> rows(group.rows.begin(), group.rows.end());
  if (tested.config.small_contexts != SmallContexts::pad) {
    ASSERT_EQ(rows.size(), group.rows.size());
  }
  for (const std::int64_t row : rows) {
    const std::int32_t context = tested.contexts.at(static_cast<std::size_t>(row));
    if (group.context >= 0) {
      ASSERT_EQ(context, group.context);
    } else {
      ASSERT_LT(std::count(tested.contexts.begin(), tested.contexts.end(), context),
                tested.config.images_per_group);
    }
  }
}

void check_epoch(const RandomCase& tested, const ContextSampler& sampler, std::int64_t epoch) {
  std::map<std::int64_t, std::int64_t> uses;
  for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
    const StepPlan plan = sampler.plan(epoch, step);
    ASSERT_EQ(std::ssize(plan), tested.config.groups_per_step);
    for (std::size_t i = 0; i < plan.size(); ++i) {
      ASSERT_EQ(plan[i].number, static_cast<std::int64_t>(i));
      check_group(tested, plan[i]);
      for (const std::int64_t row : plan[i].rows) ++uses[row];
    }
    const auto ranks = static_cast<int>(tested.config.groups_per_step);
    ASSERT_EQ(sampler.plan(epoch, step, ranks - 1, ranks)[0].rows, plan.back().rows);
  }
  if (!tested.is_natural() || tested.config.small_contexts == SmallContexts::pad) return;
  for (const auto& [row, count] : uses) ASSERT_EQ(count, 1) << row;
}

// The number of a failing round makes it again.
TEST(ContextSampler, PropertiesOfRandomConfigurations) {
  int sampled = 0;
  for (std::int64_t round = 0; round < 600; ++round) {
    SCOPED_TRACE(fmt::format("round {}", round));
    const RandomCase tested(round);
    std::optional<ContextSampler> sampler;
    try {
      sampler.emplace(tested.sampler());
    } catch (const DataError&) {
      continue;  // too few images, or small contexts that are refused
    }
    ++sampled;
    for (std::int64_t epoch = 0; epoch < 2; ++epoch) check_epoch(tested, *sampler, epoch);
    const std::int64_t last = sampler->steps_per_epoch() - 1;
    ASSERT_EQ(tested.sampler().plan(7, last)[0].rows, sampler->plan(7, last)[0].rows) << "a resumed run";
  }
  EXPECT_GT(sampled, 200);
}

// With the plain policies nothing may be left out but what does not fill a group or a step.
TEST(ContextSampler, LeavesOutNoMoreThanRemainders) {
  for (std::int64_t round = 0; round < 300; ++round) {
    SCOPED_TRACE(fmt::format("round {}", round));
    RandomStream random({.seed = 21, .purpose = Purpose::synthetic, .time = round});
    std::vector<std::int64_t> counts(1 + random.below(6));
    const SamplerConfig config{.groups_per_step = static_cast<std::int64_t>(1 + random.below(5)),
                               .images_per_group = static_cast<std::int64_t>(1 + random.below(6)),
                               .group_by = ""};
    for (auto& count : counts) count = static_cast<std::int64_t>(random.below(30));
    std::int64_t groups = 0;
    bool small = false;
    for (const std::int64_t count : counts) {
      groups += count / config.images_per_group;
      small |= count > 0 && count < config.images_per_group;
    }
    const auto runs = runs_of(contexts_with(counts));
    if (small || groups < config.groups_per_step) {
      EXPECT_THROW(ContextSampler(runs, kNames, config, 1), DataError);
    } else {
      EXPECT_EQ(ContextSampler(runs, kNames, config, 1).steps_per_epoch(), groups / config.groups_per_step);
    }
  }
}

TEST(StepsThatFit, AreSomeTenAnEpochOfGroupsThatRanksDivide) {
  const SamplerConfig config;  // 16 groups of 32

  EXPECT_EQ(steps_that_fit(config, 2000, 1), "sampler.groups_per_step=6 sampler.images_per_group=32");
  EXPECT_EQ(steps_that_fit(config, 2000, 4), "sampler.groups_per_step=4 sampler.images_per_group=32");
  EXPECT_EQ(steps_that_fit(config, 300, 2), "sampler.groups_per_step=2 sampler.images_per_group=15");
  EXPECT_EQ(steps_that_fit(config, 3, 2), "sampler.groups_per_step=2 sampler.images_per_group=1");
}

}  // namespace
}  // namespace cohort::data
