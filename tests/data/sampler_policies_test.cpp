// Small contexts, balance and blocks: what the sampler does when asked for more than pure groups.
#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

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

/// Three contexts with 4, 9 and 30 images of each of two classes.
struct Cells {
  Cells() {
    for (const std::int32_t images : {4, 9, 30}) {
      contexts.insert(contexts.end(), static_cast<std::size_t>(2 * images), context_of_next++);
      for (std::int32_t i = 0; i < 2 * images; ++i) labels.push_back(i % 2);
    }
  }
  [[nodiscard]] ContextSampler sampler(std::int64_t groups) const {
    return {runs_of(contexts), kNames, config(groups), 7, labels};
  }
  static SamplerConfig config(std::int64_t groups) {
    return {.groups_per_step = groups, .images_per_group = 6, .group_by = "", .order = GroupOrder::cells};
  }

  std::int32_t context_of_next = 0;
  std::vector<std::int32_t> contexts, labels;
};

TEST(CellOrder, EveryStepHasAsManyImagesOfEveryContextAndClass) {
  const Cells cells;
  const ContextSampler sampler = cells.sampler(6);
  ASSERT_EQ(sampler.steps_per_epoch(), 2);  // 8 / 6 + 18 / 6 + 60 / 6 groups
  for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
    std::map<std::pair<std::int32_t, std::int32_t>, int> counts;
    for (const Group& group : sampler.plan(0, step)) {
      for (const std::int64_t row : group.rows) {
        EXPECT_EQ(cells.contexts[static_cast<std::size_t>(row)], group.context);
        ++counts[{group.context, cells.labels[static_cast<std::size_t>(row)]}];
      }
    }
    EXPECT_EQ(counts.size(), 6U);
    for (const auto& [cell, count] : counts) EXPECT_EQ(count, 6) << cell.first << "/" << cell.second;
  }
}

TEST(CellOrder, ContextsThatDoNotAllFitAStepTakeTurns) {
  const Cells cells;
  const ContextSampler sampler = cells.sampler(2);
  std::vector<std::int32_t> order;
  for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
    for (const Group& group : sampler.plan(3, step)) order.push_back(group.context);
  }
  ASSERT_EQ(order.size(), 14U);
  std::set<std::vector<std::int32_t>> turns;
  for (std::size_t first = 0; first + 3 <= order.size(); first += 3) {
    const std::vector<std::int32_t> turn(order.begin() + static_cast<std::ptrdiff_t>(first),
                                         order.begin() + static_cast<std::ptrdiff_t>(first) + 3);
    EXPECT_EQ(std::set<std::int32_t>(turn.begin(), turn.end()).size(), 3U);
    turns.insert(turn);
  }
  EXPECT_GT(turns.size(), 1U) << "every turn has the same order";
}

// A cell of four images gives three of them a group: the second group starts over, in another order.
TEST(CellOrder, ACellThatRunsOutStartsOverInAnotherOrder) {
  const Cells cells;
  const ContextSampler sampler = cells.sampler(3);
  std::vector<Group> of_first;
  for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
    for (const Group& group : sampler.plan(0, step)) {
      if (group.context == 0) of_first.push_back(group);
    }
  }
  ASSERT_EQ(of_first.size(), 4U);
  std::set<std::vector<std::int64_t>> orders;
  for (std::size_t i = 0; i < of_first.size(); ++i) {
    EXPECT_EQ(of_first[i].copies, std::vector<std::int32_t>(6, static_cast<std::int32_t>(i)));
    orders.insert(of_first[i].rows);
  }
  EXPECT_EQ(orders.size(), 4U);
}

TEST(CellOrder, AnImageCanComeTwiceInAGroupThatNeedsMoreThanThereAre) {
  const std::vector<std::int32_t> contexts(5, 0), labels{0, 1, 1, 1, 1};
  const ContextSampler sampler(
      runs_of(contexts), kNames,
      {.groups_per_step = 1, .images_per_group = 4, .group_by = "", .order = GroupOrder::cells}, 7, labels);
  const Group group = sampler.plan(0, 0)[0];
  EXPECT_EQ(std::count(group.rows.begin(), group.rows.end(), 0), 2);
  EXPECT_EQ(group.copies, (std::vector<std::int32_t>{0, 1, 0, 0}));
}

TEST(CellOrder, ContextsWithoutAnyLabelAreCellsOfTheirOwn) {
  const std::vector<std::int32_t> contexts{0, 0, 0, 0, 1, 1, 1, 1}, labels{0, 1, 0, 1, -1, -1, -1, -1};
  const ContextSampler sampler(
      runs_of(contexts), kNames,
      {.groups_per_step = 2, .images_per_group = 2, .group_by = "", .order = GroupOrder::cells}, 7, labels);
  EXPECT_EQ(sampler.steps_per_epoch(), 2);
}

TEST(CellOrder, RefusesWhatCannotBeEven) {
  const std::vector<std::int32_t> contexts{0, 0, 0, 0, 1, 1, 1, 1}, labels{0, 1, 0, 1, 1, 1, 1, 1};
  const auto message = [&](const std::vector<std::int32_t>& label_of_row, std::int64_t images) {
    return message_of([&] {
      const ContextSampler sampler(
          runs_of(contexts), kNames,
          {.groups_per_step = 2, .images_per_group = images, .group_by = "", .order = GroupOrder::cells}, 7,
          label_of_row);
    });
  };
  const auto expect_refused = [&](const std::vector<std::int32_t>& label_of_row, const std::string& text) {
    EXPECT_NE(message(label_of_row, 2).find(text), std::string::npos) << message(label_of_row, 2);
  };
  expect_refused(labels, "south has images of other classes than north: not as many of every class");
  expect_refused({0, 1, 0, 1, 1, 2, 1, 2}, "south has images of other classes than north");
  expect_refused({0, 1, 0, 1, -1, 0, -1, 1}, "south has images without a label beside those with one");
  const std::vector<std::int32_t> both{0, 1, 0, 1, 1, 0, 1, 1};
  EXPECT_NE(message(both, 3).find("a group of 3 images cannot have as many of each of 2 classes"),
            std::string::npos)
      << message(both, 3);
}

TEST(Repeats, AnEpochHasEachImageThatOftenInOtherGroupsAndAsAnotherCopy) {
  const auto contexts = contexts_with({8, 24});
  const ContextSampler sampler(runs_of(contexts), kNames,
                               {.groups_per_step = 2, .images_per_group = 4, .group_by = "", .repeats = 3},
                               5);
  ASSERT_EQ(sampler.steps_per_epoch(), 12);
  std::map<std::int64_t, std::set<std::int32_t>> copies;
  for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
    for (const Group& group : sampler.plan(2, step)) {
      EXPECT_EQ(std::set<std::int64_t>(group.rows.begin(), group.rows.end()).size(), 4U);
      for (std::size_t i = 0; i < group.rows.size(); ++i) copies[group.rows[i]].insert(group.copies[i]);
    }
  }
  EXPECT_EQ(copies.size(), 32U);
  for (const auto& [row, of_row] : copies) EXPECT_EQ(of_row, (std::set<std::int32_t>{0, 1, 2})) << row;
}

}  // namespace
}  // namespace cohort::data
