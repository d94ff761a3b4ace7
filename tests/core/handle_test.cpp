#include "cohort/core/handle.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

namespace cohort {
namespace {

std::vector<int>& closed() {
  static std::vector<int> handles;
  return handles;
}

struct NumberTraits {
  using type = int;
  static type null() noexcept { return -1; }
  static void close(type handle) noexcept { closed().push_back(handle); }
};
using Number = Handle<NumberTraits>;

class HandleTest : public ::testing::Test {
 protected:
  void SetUp() override { closed().clear(); }
};

TEST_F(HandleTest, ClosesOnceAndNeverNull) {
  {
    const Number empty;
    const Number seven(7);
    EXPECT_FALSE(empty);
    EXPECT_TRUE(seven);
    EXPECT_EQ(seven.get(), 7);
  }

  EXPECT_EQ(closed(), std::vector<int>{7});
}

TEST_F(HandleTest, AMovedFromHandleIsNull) {
  Number first(1);
  Number second(std::move(first));

  EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(second.get(), 1);
  EXPECT_TRUE(closed().empty());
}

TEST_F(HandleTest, MoveAssignmentClosesTheOldOne) {
  Number first(1), second(2);

  second = std::move(first);

  EXPECT_EQ(closed(), std::vector<int>{2});
  EXPECT_EQ(second.get(), 1);
}

TEST_F(HandleTest, SelfMoveKeepsIt) {
  Number handle(1);
  Number& same = handle;

  handle = std::move(same);

  EXPECT_EQ(handle.get(), 1);
  EXPECT_TRUE(closed().empty());
}

TEST_F(HandleTest, AVectorClosesEachOnce) {
  {
    std::vector<Number> handles;
    for (int i = 0; i < 10; ++i) handles.emplace_back(i);
    handles.erase(handles.begin());
    EXPECT_EQ(closed(), std::vector<int>{0});
  }

  std::vector<int> sorted = closed();
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST_F(HandleTest, OutClosesAndTakesANewOne) {
  const auto create = [](int* out) { *out = 5; };
  Number handle(4);

  create(handle.out());

  EXPECT_EQ(closed(), std::vector<int>{4});
  EXPECT_EQ(handle.get(), 5);
}

TEST_F(HandleTest, ReleaseGivesItAway) {
  Number handle(4);

  EXPECT_EQ(handle.release(), 4);

  EXPECT_FALSE(handle);
  handle.reset();
  EXPECT_TRUE(closed().empty());
}

}  // namespace
}  // namespace cohort
