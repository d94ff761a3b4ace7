#include "cohort/data/context_sampler.h"

#include <map>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

namespace cohort::data {
namespace {

const std::vector<std::string> kNames{"north", "south", "east", "west", "a", "b", "c", "d"};

/// counts[i] rows of context i, interleaved.
std::vector<std::int32_t> contexts_with(std::vector<std::int64_t> counts) {
  std::vector<std::int32_t> contexts;
  for (bool added = true; added;) {
    added = false;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      if (counts[i]-- <= 0) continue;
      contexts.push_back(static_cast<std::int32_t>(i));
      added = true;
    }
  }
  return contexts;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(ContextSampler, AnEpochHasEachRowAtMostOnceInWholePureGroups) {
  const auto contexts = contexts_with({10, 7, 9});
  const ContextSampler sampler(contexts, kNames,
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
  const ContextSampler one(contexts, kNames, config, 7), same(contexts, kNames, config, 7),
      other(contexts, kNames, config, 8);
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
  const ContextSampler sampler(contexts, kNames,
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
    ContextSampler(contexts, kNames, {.groups_per_step = 1, .images_per_group = 4, .group_by = ""}, 0);
  });

  EXPECT_NE(message.find("2 contexts have fewer images than a group of 4: south (3 images), west (1 image)"),
            std::string::npos)
      << message;
  EXPECT_NE(message.find("lower sampler.images_per_group to 1 or drop these contexts"), std::string::npos)
      << message;
}

TEST(ContextSampler, ListsFiveSmallContextsAndCountsTheRest) {
  const auto contexts = contexts_with({1, 1, 1, 1, 1, 1, 1, 9});

  const std::string message = message_of([&] {
    ContextSampler(contexts, kNames, {.groups_per_step = 1, .images_per_group = 4, .group_by = ""}, 0);
  });

  EXPECT_NE(message.find("a (1 image) and 2 more"), std::string::npos) << message;
}

TEST(ContextSampler, RefusesAStepLargerThanTheDataset) {
  const auto contexts = contexts_with({8, 8});

  const std::string message = message_of([&] {
    ContextSampler(contexts, kNames, {.groups_per_step = 5, .images_per_group = 4, .group_by = ""}, 0);
  });

  EXPECT_NE(message.find("16 images make 4 groups of 4, fewer than the 5 groups of one step"),
            std::string::npos)
      << message;
}

TEST(ContextSampler, ContextsWithoutRowsAreFine) {
  const std::vector<std::int32_t> contexts{0, 0, 2, 2};

  const ContextSampler sampler(contexts, kNames,
                               {.groups_per_step = 2, .images_per_group = 2, .group_by = ""}, 0);

  EXPECT_EQ(sampler.steps_per_epoch(), 1);
}

TEST(Share, RanksPartitionThePlan) {
  const StepPlan plan = evaluation_plan(contexts_with({12}), 1);
  for (const int size : {1, 2, 3, 4, 6, 12}) {
    std::vector<std::int64_t> numbers;
    for (int rank = 0; rank < size; ++rank) {
      const auto part = share(plan, rank, size);
      EXPECT_EQ(part.size(), plan.size() / static_cast<std::size_t>(size));
      for (const Group& group : part) numbers.push_back(group.number);
    }
    ASSERT_EQ(numbers.size(), plan.size());
    for (std::size_t i = 0; i < numbers.size(); ++i) EXPECT_EQ(numbers[i], static_cast<std::int64_t>(i));
  }
}

TEST(Share, NamesTheDivisors) {
  const StepPlan plan = evaluation_plan(contexts_with({12}), 1);

  const std::string message = message_of([&] { share(plan, 0, 5); });

  EXPECT_NE(message.find("5 ranks cannot share 12 groups evenly"), std::string::npos) << message;
  EXPECT_NE(message.find("use 1, 2, 3, 4, 6, 12 ranks"), std::string::npos) << message;
  EXPECT_THROW(share(plan, 0, 5), UsageError);
}

TEST(EvaluationPlan, HasEveryRowOnceInOrder) {
  const StepPlan plan = evaluation_plan(std::vector<std::int32_t>{1, 0, 1, 1, 3}, 2);

  ASSERT_EQ(plan.size(), 4U);
  const std::vector<std::vector<std::int64_t>> rows{{1}, {0, 2}, {3}, {4}};
  const std::vector<std::int32_t> contexts{0, 1, 1, 3};
  for (std::size_t i = 0; i < plan.size(); ++i) {
    EXPECT_EQ(plan[i].rows, rows[i]);
    EXPECT_EQ(plan[i].context, contexts[i]);
    EXPECT_EQ(plan[i].number, static_cast<std::int64_t>(i));
  }
}

// Random shapes of datasets and steps; the seed of a failing round is in its message.
TEST(ContextSampler, Fuzz) {
  for (std::int64_t round = 0; round < 300; ++round) {
    SCOPED_TRACE(fmt::format("round {}", round));
    RandomStream random({.seed = 20, .purpose = Purpose::synthetic, .time = round});
    std::vector<std::int64_t> counts(1 + random.below(6));
    for (auto& count : counts) count = static_cast<std::int64_t>(random.below(30));
    const SamplerConfig config{.groups_per_step = static_cast<std::int64_t>(1 + random.below(5)),
                               .images_per_group = static_cast<std::int64_t>(1 + random.below(6)),
                               .group_by = ""};
    const auto contexts = contexts_with(counts);
    std::int64_t groups = 0;
    bool small = false;
    for (const std::int64_t count : counts) {
      groups += count / config.images_per_group;
      small |= count > 0 && count < config.images_per_group;
    }
    if (small || groups < config.groups_per_step) {
      EXPECT_THROW(ContextSampler(contexts, kNames, config, 1), DataError);
      continue;
    }
    const ContextSampler sampler(contexts, kNames, config, 1);
    ASSERT_EQ(sampler.steps_per_epoch(), groups / config.groups_per_step);
    std::set<std::int64_t> seen;
    for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
      for (const Group& group : sampler.plan(round, step)) {
        ASSERT_EQ(static_cast<std::int64_t>(group.rows.size()), config.images_per_group);
        for (const std::int64_t row : group.rows) {
          ASSERT_EQ(contexts[static_cast<std::size_t>(row)], group.context);
          ASSERT_TRUE(seen.insert(row).second);
        }
      }
    }
  }
}

}  // namespace
}  // namespace cohort::data
