// Small contexts, balance and blocks: what the sampler does when asked for more than pure groups.
#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "data/sampler_support.h"

namespace cohort::data {
namespace {

/// How often an epoch uses each row of `rows`.
std::vector<int> uses_in_epoch(const ContextSampler& sampler, std::int64_t epoch, std::size_t rows) {
  std::vector<int> uses(rows);
  for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
    for (const Group& group : sampler.plan(epoch, step)) {
      for (const std::int64_t row : group.rows) ++uses[static_cast<std::size_t>(row)];
    }
  }
  return uses;
}

TEST(SmallContexts, PadRepeatsTheirImagesEvenly) {
  const ContextSampler sampler(
      runs_of(contexts_with({3, 8})), kNames,
      {.groups_per_step = 1, .images_per_group = 8, .group_by = "", .small_contexts = SmallContexts::pad}, 1);

  ASSERT_EQ(sampler.steps_per_epoch(), 2);
  for (std::int64_t epoch = 0; epoch < 5; ++epoch) {
    const std::vector<int> uses = uses_in_epoch(sampler, epoch, 11);
    for (const int row : {0, 2, 4})
      EXPECT_TRUE(uses[static_cast<std::size_t>(row)] == 2 || uses[static_cast<std::size_t>(row)] == 3);
    for (const int row : {1, 3, 5, 6, 7, 8, 9, 10}) EXPECT_EQ(uses[static_cast<std::size_t>(row)], 1);
  }
}

TEST(SmallContexts, DropLeavesThemOut) {
  const ContextSampler sampler(
      runs_of({0, 0, 0, 1, 1, 1, 1}), kNames,
      {.groups_per_step = 1, .images_per_group = 4, .group_by = "", .small_contexts = SmallContexts::drop},
      1);

  EXPECT_EQ(sampler.images(), 4);
  EXPECT_EQ(uses_in_epoch(sampler, 0, 7), (std::vector<int>{0, 0, 0, 1, 1, 1, 1}));
}

TEST(SmallContexts, MergeMakesGroupsOfAllOfThem) {
  const ContextSampler sampler(
      runs_of({0, 1, 1, 2, 3, 3, 3, 3}), kNames,
      {.groups_per_step = 2, .images_per_group = 4, .group_by = "", .small_contexts = SmallContexts::merge},
      1);

  ASSERT_EQ(sampler.steps_per_epoch(), 1);
  for (const Group& group : sampler.plan(0, 0)) {
    const std::set<std::int64_t> rows(group.rows.begin(), group.rows.end());
    EXPECT_EQ(rows, group.context == -1 ? (std::set<std::int64_t>{0, 1, 2, 3})
                                        : (std::set<std::int64_t>{4, 5, 6, 7}));
  }
}

TEST(Balance, GivesGroupsByAPowerOfTheSize) {
  const auto contexts = contexts_with({160, 40, 10});
  const auto groups_with = [&](double balance) {
    const ContextSampler sampler(
        runs_of(contexts), kNames,
        {.groups_per_step = 1, .images_per_group = 10, .group_by = "", .balance = balance}, 5);
    std::map<std::int32_t, int> groups;
    for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step)
      ++groups[sampler.plan(0, step)[0].context];
    return groups;
  };

  EXPECT_EQ(groups_with(1.0), (std::map<std::int32_t, int>{{0, 16}, {1, 4}, {2, 1}}));
  EXPECT_EQ(groups_with(0.5), (std::map<std::int32_t, int>{{0, 12}, {1, 6}, {2, 3}}));
  EXPECT_EQ(groups_with(0.0), (std::map<std::int32_t, int>{{0, 7}, {1, 7}, {2, 7}}));
}

TEST(Balance, NoImageTwiceInAGroupHoweverOftenAContextComes) {
  const ContextSampler sampler(runs_of(contexts_with({70, 13})), kNames,
                               {.groups_per_step = 1, .images_per_group = 10, .group_by = "", .balance = 0.0},
                               5);
  for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
    const Group group = sampler.plan(1, step)[0];
    EXPECT_EQ(std::set<std::int64_t>(group.rows.begin(), group.rows.end()).size(), 10U);
  }
}

TEST(BalanceLabels, SharesEachGroupEquallyAsFarAsThereAreImages) {
  // Context 0: 30 of label 0, 6 of label 1, 4 without; context 1: label 2 alone.
  std::vector<std::int32_t> contexts(40, 0), labels(30, 0);
  labels.insert(labels.end(), 6, 1);
  labels.insert(labels.end(), 4, -1);
  contexts.insert(contexts.end(), 12, 1);
  labels.insert(labels.end(), 12, 2);
  const ContextSampler sampler(
      runs_of(contexts), kNames,
      {.groups_per_step = 1, .images_per_group = 12, .group_by = "", .balance_labels = true}, 2, labels);

  ASSERT_EQ(sampler.steps_per_epoch(), 4);
  for (std::int64_t step = 0; step < 4; ++step) {
    const Group group = sampler.plan(0, step)[0];
    std::map<std::int32_t, int> counts;
    for (const std::int64_t row : group.rows) ++counts[labels[static_cast<std::size_t>(row)]];
    EXPECT_EQ(std::set<std::int64_t>(group.rows.begin(), group.rows.end()).size(), 12U);
    EXPECT_EQ(counts, group.context == 0 ? (std::map<std::int32_t, int>{{-1, 4}, {0, 4}, {1, 4}})
                                         : (std::map<std::int32_t, int>{{2, 12}}));
  }
}

TEST(BalanceLabels, MoreLabelsThanImagesInAGroupTakeTurns) {
  std::vector<std::int32_t> contexts(200, 0), labels;
  for (std::int32_t row = 0; row < 200; ++row) labels.push_back(row % 10);
  const ContextSampler sampler(
      runs_of(contexts), kNames,
      {.groups_per_step = 1, .images_per_group = 4, .group_by = "", .balance_labels = true}, 2, labels);

  std::map<std::int32_t, int> counts;
  ASSERT_EQ(sampler.steps_per_epoch(), 50);
  for (std::int64_t step = 0; step < 50; ++step) {
    std::set<std::int32_t> of_group;
    const Group group = sampler.plan(0, step)[0];
    for (const std::int64_t row : group.rows) {
      of_group.insert(labels[static_cast<std::size_t>(row)]);
      ++counts[labels[static_cast<std::size_t>(row)]];
    }
    EXPECT_EQ(of_group.size(), 4U);
  }
  for (std::int32_t label = 0; label < 10; ++label) EXPECT_EQ(counts[label], 20) << label;
  for (const int uses : uses_in_epoch(sampler, 0, 200)) EXPECT_EQ(uses, 1);
}

TEST(SmallContexts, MergeRefusesFewerImagesThanAGroup) {
  const std::string message = message_of([&] {
    ContextSampler(
        runs_of({0, 1, 2, 2, 2, 2}), kNames,
        {.groups_per_step = 1, .images_per_group = 4, .group_by = "", .small_contexts = SmallContexts::merge},
        1);
  });
  EXPECT_NE(message.find("all contexts with fewer images than a group of 4 have 2 together"),
            std::string::npos)
      << message;
}

TEST(Block, KeepsNeighboursTogether) {
  const ContextSampler sampler(runs_of(std::vector<std::int32_t>(1003, 0)), kNames,
                               {.groups_per_step = 1, .images_per_group = 100, .group_by = "", .block = 10},
                               2);
  for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
    std::set<std::int64_t> blocks;
    const Group group = sampler.plan(0, step)[0];
    for (const std::int64_t row : group.rows) blocks.insert(row / 10);
    EXPECT_LE(blocks.size(), 14U);  // 10 whole ones, two cut by the group's ends, two by the short last block
  }
}

}  // namespace
}  // namespace cohort::data
