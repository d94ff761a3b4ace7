#include "cohort/data/loader.h"

#include <atomic>
#include <future>

#include <gtest/gtest.h>
#include <torch/types.h>

#include "cohort/core/error.h"

namespace cohort::data {
namespace {

Batch numbered(std::int64_t step) {
  Batch batch;
  batch.sample = at::tensor(step);
  return batch;
}

TEST(Loader, GivesAllStepsInOrder) {
  Loader loader(numbered, 3, 20, {.prefetch = 4});

  for (std::int64_t step = 3; step < 20; ++step) EXPECT_EQ(loader.next().sample.item<std::int64_t>(), step);

  EXPECT_THROW(loader.next(), Bug);
  EXPECT_GE(loader.take_wait().count(), 0.0);
  EXPECT_EQ(loader.take_wait().count(), 0.0);
}

TEST(Loader, RethrowsWhatTheThreadThrewAtItsStep) {
  const auto make = [](std::int64_t step) {
    if (step == 2) throw DataError({"row 7 is damaged", "train-00000.h5", ""});
    return numbered(step);
  };
  Loader loader(make, 0, 5, {.prefetch = 1});

  loader.next();
  loader.next();

  EXPECT_THROW(loader.next(), DataError);
  EXPECT_THROW(loader.next(), DataError);
}

TEST(Loader, MakesNoMoreThanIsAskedAhead) {
  std::atomic<std::int64_t> made{0};
  std::promise<void> third;
  const auto make = [&](std::int64_t step) {
    if (++made == 3) third.set_value();
    return numbered(step);
  };
  {
    Loader loader(make, 0, 1000, {.prefetch = 2});
    third.get_future().wait();  // two in the queue, one in the hand that waits for room
  }
  EXPECT_EQ(made, 3);
}

TEST(Loader, AnEmptyRangeHasNoBatch) {
  Loader loader(numbered, 5, 5, {.prefetch = 2});
  EXPECT_THROW(loader.next(), Bug);
}

}  // namespace
}  // namespace cohort::data
