#include "comm/stack.h"

#include <algorithm>
#include <csignal>
#include <functional>
#include <malloc.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace cohort::comm {
namespace {

Stack stack;
int line_of_the_call = 0;

[[gnu::noinline]] void stand_somewhere() {
  line_of_the_call = __LINE__ + 1;
  take_stack(stack, 1);
}

TEST(Stack, BeginsWithTheCallerAndHasAddressesOfItsModules) {
  stand_somewhere();
  ASSERT_GT(stack.depth, 3U);
  EXPECT_LE(stack.depth, stack.calls.size());
  const auto lines = addresses_of(stack);
  ASSERT_EQ(lines.size(), stack.depth);
  EXPECT_NE(lines.front().find("comm_test"), std::string::npos) << lines.front();
}

TEST(Stack, DeepOnesAreCutOff) {
  const std::function<void(int)> descend = [&](int depth) {
    if (depth == 0) return stand_somewhere();
    descend(depth - 1);
  };
  descend(200);
  EXPECT_EQ(stack.depth, stack.calls.size());
}

#ifdef COHORT_BACKTRACE
[[gnu::noinline]] void meet_a_signal() {
  std::raise(SIGUSR2);
}

TEST(Stack, PlacesHaveFunctionFileAndLine) {
  stand_somewhere();
  const auto lines = places_of(stack);
  EXPECT_NE(lines.front().find("stand_somewhere"), std::string::npos) << lines.front();
  const std::string place = fmt::format("tests/comm/stack_test.cpp:{}", line_of_the_call);
  EXPECT_TRUE(lines.front().ends_with(place)) << lines.front();
}

TEST(Stack, OfASignalHandlerBeginsWhereItWasMet) {
  const auto before = std::signal(SIGUSR2, [](int) { take_stack(stack, 3); });
  meet_a_signal();
  std::signal(SIGUSR2, before);
  const auto lines = places_of(stack);
  const auto found = std::find_if(lines.begin(), lines.end(), [](const std::string& line) {
    return line.find("meet_a_signal") != std::string::npos;
  });
  ASSERT_NE(found, lines.end());
  EXPECT_TRUE(std::none_of(lines.begin(), lines.end(), [](const std::string& line) {
    return line.find("take_stack") != std::string::npos;
  }));
  EXPECT_LE(found - lines.begin(), 4) << "raise() and what the C library calls in it come before";
}

TEST(Stack, PlacesAreFoundWithoutTheHeap) {
  stand_somewhere();
  const std::size_t before = ::mallinfo2().uordblks;
  std::size_t told = 0;
  visit_places(
      stack, [](void* count, const CallPlace&) { ++*static_cast<std::size_t*>(count); }, &told);
  EXPECT_EQ(::mallinfo2().uordblks, before);
  EXPECT_GE(told, stack.depth);
}
#endif

TEST(Stack, OfNoCallsIsEmpty) {
  EXPECT_TRUE(places_of({}).empty());
  EXPECT_TRUE(addresses_of({}).empty());
}

}  // namespace
}  // namespace cohort::comm
