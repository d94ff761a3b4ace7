#include "shard/call_order.h"

#include <gtest/gtest.h>

namespace cohort::shard {
namespace {

using Units = std::vector<std::size_t>;

Units run(CallOrder& order, const Units& units) {
  Units expected;
  for (const std::size_t unit : units) expected.push_back(order.call(unit).value_or(99));
  order.end();
  return expected;
}

TEST(CallOrder, ExpectsTheNextUnitAtFirstAndThenWhatRanLast) {
  CallOrder order(4);
  EXPECT_EQ(run(order, {0, 2, 2, 1}), (Units{1, 3, 2, 2}));
  EXPECT_EQ(run(order, {0, 2, 2, 1}), (Units{2, 1, 2, 99}));
  EXPECT_EQ(run(order, {3}), (Units{99}));
}

TEST(OpenCalls, AreDoneWhenTheFirstCallOfAUnitIsLeft) {
  OpenCalls calls(3);
  for (const std::size_t unit : {1U, 0U, 1U}) calls.add(unit);
  EXPECT_EQ(calls.order_of_completion(), (Units{0, 1, 2}));
  calls.pop();
  EXPECT_FALSE(calls.is_done(1));
  calls.pop();
  EXPECT_TRUE(calls.is_done(0));
  calls.pop();
  EXPECT_TRUE(calls.is_done(1));
}

TEST(OpenCalls, ADigestTellsOrdersApart) {
  OpenCalls calls(3);
  const auto digest = [&](const Units& units) {
    for (const std::size_t unit : units) calls.add(unit);
    calls.clear();
    return calls.take_digest();
  };
  EXPECT_EQ(digest({0, 1, 2}), digest({0, 1, 2}));
  EXPECT_NE(digest({0, 1, 2}), digest({0, 2, 1}));
  EXPECT_NE(digest({0}), digest({0, 0}));
}

}  // namespace
}  // namespace cohort::shard
