#include "cohort/core/workers.h"

#include <atomic>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

namespace cohort {
namespace {

TEST(WorkersTest, EachPassOnceOnAnyNumberOfThreads) {
  for (const std::int64_t threads : {1, 2, 5}) {
    Workers workers(threads);
    EXPECT_EQ(workers.threads(), threads);
    for (const std::int64_t count : {0, 1, 3, 1000}) {
      std::vector<std::atomic<int>> calls(static_cast<std::size_t>(count));
      workers.for_each(count, [&](std::int64_t i) { ++calls[static_cast<std::size_t>(i)]; });
      for (const auto& number : calls) EXPECT_EQ(number, 1);
    }
  }
}

// Both passes wait for each other: one thread alone would never end.
TEST(WorkersTest, PassesRunAtTheSameTime) {
  Workers workers(2);
  std::atomic<int> arrived{0};
  workers.for_each(2, [&](std::int64_t) {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
  });
  EXPECT_EQ(arrived, 2);
}

// Short loops one after the other: the caller often ends while a helper is about to begin the last pass.
TEST(WorkersTest, HelpersOutliveTheCallersShare) {
  Workers workers(4);
  std::atomic<std::int64_t> calls{0};
  for (int loop = 0; loop < 20'000; ++loop) workers.for_each(3, [&](std::int64_t) { ++calls; });
  EXPECT_EQ(calls, 60'000);
}

TEST(WorkersTest, ThrowsTheErrorOfTheLowestPassAndGoesOn) {
  Workers workers(3);
  for (int repetition = 0; repetition < 50; ++repetition) {
    try {
      workers.for_each(3, [](std::int64_t i) { throw std::runtime_error(std::to_string(i)); });
      FAIL() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "0");
    }
  }
  std::atomic<int> calls{0};
  workers.for_each(10, [&](std::int64_t) { ++calls; });
  EXPECT_EQ(calls, 10);
}

TEST(WorkersTest, CancelEndsALoopEarly) {
  Workers workers(2);
  std::atomic<int> calls{0};
  EXPECT_THROW(workers.for_each(1'000'000,
                                [&](std::int64_t) {
                                  if (++calls == 10) workers.cancel();
                                }),
               Workers::Cancelled);
  EXPECT_LT(calls, 1'000'000);
  EXPECT_THROW(workers.for_each(1, [](std::int64_t) {}), Workers::Cancelled);
}

TEST(WorkersTest, NoThreadIsABug) {
  EXPECT_THROW(Workers(0), Bug);
}

}  // namespace
}  // namespace cohort
