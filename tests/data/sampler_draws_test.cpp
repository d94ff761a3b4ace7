// What the sampler draws at random: every image and every group at every place equally often, and no draw
// tells of another. All ranks could be wrong alike about this, so that no comparison of ranks would show it.
#include <algorithm>
#include <iterator>
#include <map>
#include <numeric>

#include <gtest/gtest.h>

#include "data/sampler_support.h"
#include "support/even.h"

namespace cohort::data {
namespace {

using testing::Counts;
using testing::expect_even;

/// Groups of an epoch in the order in which they are trained on.
std::vector<Group> groups_of(const ContextSampler& sampler, std::int64_t epoch) {
  std::vector<Group> groups;
  for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
    StepPlan plan = sampler.plan(epoch, step);
    std::move(plan.begin(), plan.end(), std::back_inserter(groups));
  }
  return groups;
}

/// `contexts` contexts of `rows` rows each, one after the other.
ContextSampler blocks(std::int64_t contexts, std::int64_t rows, SamplerConfig config,
                      std::uint64_t seed = 3) {
  std::vector<ContextRun> runs;
  for (std::int64_t i = 0; i < contexts; ++i) runs.push_back({static_cast<std::int32_t>(i), i * rows, rows});
  return {runs, kNames, config, seed};
}

SamplerConfig groups_with(std::int64_t images, std::int64_t groups_per_step = 1) {
  return {.groups_per_step = groups_per_step, .images_per_group = images, .group_by = ""};
}

TEST(SamplerDraws, EveryGroupComesAtEveryPlaceOfEveryEpoch) {
  const ContextSampler sampler = blocks(6, 3, groups_with(3, 2));
  Counts places({6, 6}), neighbours({6, 6});
  for (std::int64_t epoch = 0; epoch < 1200; ++epoch) {
    const std::vector<Group> groups = groups_of(sampler, epoch), next = groups_of(sampler, epoch + 1);
    for (std::size_t place = 0; place < 6; ++place) places.add(place, groups[place].context);
    neighbours.add(groups[0].context, next[0].context);
  }
  expect_even(places);
  expect_even(neighbours);
}

// A table orders up to 64 rows, a network more.
TEST(SamplerDraws, EveryRowComesAtEveryPlaceOfEveryGroup) {
  for (const auto& [rows, images] : {std::pair<std::int64_t, std::int64_t>{12, 4}, {72, 12}}) {
    const ContextSampler sampler = blocks(1, rows, groups_with(images, rows / images));
    Counts places({rows, rows}), next({6, 6});
    for (std::int64_t epoch = 0; epoch < 2000; ++epoch) {
      const StepPlan plan = sampler.plan(epoch, 0);
      std::int64_t place = 0;
      for (const Group& group : plan) {
        for (const std::int64_t row : group.rows) places.add(row, place++);
      }
      next.add(plan[0].rows[0] * 6 / rows, sampler.plan(epoch + 1, 0)[0].rows[0] * 6 / rows);
    }
    expect_even(places);
    expect_even(next);
  }
}

TEST(SamplerDraws, EveryTwoRowsMeetEquallyOften) {
  const ContextSampler sampler = blocks(1, 8, groups_with(4, 2));
  std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> together;
  for (std::int64_t epoch = 0; epoch < 2000; ++epoch) {
    for (const Group& group : sampler.plan(epoch, 0)) {
      for (const std::int64_t a : group.rows) {
        for (const std::int64_t b : group.rows) together[{a, b}] += a < b ? 1 : 0;
      }
    }
  }
  std::vector<std::int64_t> counts;
  for (const auto& [pair, count] : together) {
    if (pair.first < pair.second) counts.push_back(count);
  }
  ASSERT_EQ(counts.size(), 28U);
  testing::expect_as_likely(counts, std::vector<double>(28, 1.0 / 28));
}

TEST(SamplerDraws, ContextsEpochsAndSeedsShareNoOrder) {
  const ContextSampler sampler = blocks(2, 6, groups_with(6, 2)), other = blocks(2, 6, groups_with(6, 2), 4);
  Counts contexts({6, 6}), epochs({6, 6}), seeds({6, 6});
  const auto first_row = [](const ContextSampler& of, std::int64_t epoch, std::int32_t context) {
    const StepPlan plan = of.plan(epoch, 0);
    return plan[plan[0].context == context ? 0 : 1].rows[0] % 6;
  };
  for (std::int64_t epoch = 0; epoch < 2500; ++epoch) {
    const std::int64_t mine = first_row(sampler, epoch, 0);
    contexts.add(mine, first_row(sampler, epoch, 1));
    epochs.add(mine, first_row(sampler, epoch + 1, 0));
    seeds.add(mine, first_row(other, epoch, 0));
  }
  expect_even(contexts);
  expect_even(epochs);
  expect_even(seeds);
}

TEST(SamplerDraws, WhatIsLeftOutIsEveryRowEquallyOften) {
  const ContextSampler sampler = blocks(1, 11, groups_with(10));
  Counts left_out({11, 11});
  const auto missing = [&](std::int64_t epoch) {
    const Group group = sampler.plan(epoch, 0)[0];
    return 55 - std::accumulate(group.rows.begin(), group.rows.end(), std::int64_t{0});
  };
  for (std::int64_t epoch = 0; epoch < 3000; ++epoch) left_out.add(missing(epoch), missing(epoch + 1));
  expect_even(left_out);
}

// Three rows make groups of eight: two of them come three times, and each pass has an order of its own.
TEST(SamplerDraws, PaddedCopiesAreOfEveryRowAndEachPassHasItsOrder) {
  SamplerConfig config = groups_with(8);
  config.small_contexts = SmallContexts::pad;
  const ContextSampler sampler = blocks(1, 3, config);
  Counts twice({3}), passes({3, 3}), later_passes({3, 3});
  for (std::int64_t epoch = 0; epoch < 3000; ++epoch) {
    const std::vector<std::int64_t> rows = sampler.plan(epoch, 0)[0].rows;
    for (std::int64_t row = 0; row < 3; ++row) {
      if (std::count(rows.begin(), rows.end(), row) == 2) twice.add(row);
    }
    passes.add(rows[0], rows[3]);
    later_passes.add(rows[3], rows[6]);
  }
  expect_even(twice);
  expect_even(passes);
  expect_even(later_passes);
}

// With balance 0 the small context comes several times an epoch; each time through it is a shuffle of its
// own.
TEST(SamplerDraws, EveryPassOfAContextThatComesOftenHasItsOrder) {
  SamplerConfig config = groups_with(4);
  config.balance = 0.0;
  const ContextSampler sampler({{0, 0, 4}, {1, 4, 12}}, kNames, config, 3);
  Counts passes({4, 4});
  for (std::int64_t epoch = 0; epoch < 1500; ++epoch) {
    std::vector<std::int64_t> first_rows;
    for (const Group& group : groups_of(sampler, epoch)) {
      if (group.context == 0) first_rows.push_back(group.rows[0]);
    }
    ASSERT_EQ(first_rows.size(), 2U);
    passes.add(first_rows[0], first_rows[1]);
  }
  expect_even(passes);
}

TEST(SamplerDraws, BlocksComeAtEveryPlaceAndSoDoTheirRows) {
  SamplerConfig config = groups_with(4, 3);
  config.block = 4;
  const ContextSampler sampler = blocks(1, 12, config);
  Counts block_places({3, 3}), within({4, 4}), both({3, 4});
  for (std::int64_t epoch = 0; epoch < 2000; ++epoch) {
    const StepPlan plan = sampler.plan(epoch, 0);
    for (std::size_t g = 0; g < 3; ++g) block_places.add(g, plan[g].rows[0] / 4);
    for (std::size_t i = 0; i < 4; ++i) within.add(i, plan[0].rows[i] % 4);
    both.add(plan[0].rows[0] / 4, plan[0].rows[0] % 4);
  }
  expect_even(block_places);
  expect_even(within);
  expect_even(both);
}

// Six rows of label 0, six of label 1, three of each in a group.
TEST(SamplerDraws, BalancedLabelsAreDrawnByThemselves) {
  SamplerConfig config = groups_with(6, 2);
  config.balance_labels = true;
  const std::vector<std::int32_t> labels{0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1};
  const ContextSampler sampler({{0, 0, 12}}, kNames, config, 3, labels);
  Counts rows({6, 6}), next({6, 6});
  const auto first = [&](std::int64_t epoch, std::int64_t label) {
    const Group group = sampler.plan(epoch, 0)[0];
    return *std::find_if(group.rows.begin(), group.rows.end(), [&](std::int64_t row) {
      return row % 2 == label;
    }) / 2;
  };
  for (std::int64_t epoch = 0; epoch < 2500; ++epoch) {
    rows.add(first(epoch, 0), first(epoch, 1));
    next.add(first(epoch, 0), first(epoch + 1, 0));
  }
  expect_even(rows);
  expect_even(next);
}

// More labels than images of a group.
TEST(SamplerDraws, LabelsThatTakeTurnsGiveEachOfTheirRowsEquallyOften) {
  SamplerConfig config = groups_with(2, 3);
  config.balance_labels = true;
  std::vector<std::int32_t> labels;
  for (std::int32_t row = 0; row < 9; ++row) labels.push_back(row % 3);
  const ContextSampler sampler({{0, 0, 9}}, kNames, config, 3, labels);
  std::vector<Counts> rows(3, Counts({3}));
  for (std::int64_t epoch = 0; epoch < 2000; ++epoch) {
    for (const Group& group : groups_of(sampler, epoch)) {
      for (const std::int64_t row : group.rows) rows[static_cast<std::size_t>(row % 3)].add(row / 3);
    }
  }
  for (const Counts& of_label : rows) expect_even(of_label);
}

}  // namespace
}  // namespace cohort::data
