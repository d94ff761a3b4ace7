#include "cohort/data/loader.h"

#include <atomic>
#include <future>
#include <thread>

#include <gtest/gtest.h>
#include <torch/types.h>

#include "cohort/core/error.h"

namespace cohort::data {
namespace {

Batch numbered(std::int64_t step, Workers& /*workers*/) {
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

TEST(Loader, WithoutThreadsBatchesAreMadeWhereAndWhenTheyAreAskedFor) {
  const std::thread::id here = std::this_thread::get_id();
  std::int64_t made = 0;
  const auto make = [&](std::int64_t step, Workers& workers) {
    if (step == 5) throw DataError({"row 7 is damaged", "train-00000.h5", ""});
    ++made;
    workers.for_each(3, [&](std::int64_t) { EXPECT_EQ(std::this_thread::get_id(), here); });
    return numbered(step, workers);
  };
  Loader loader(make, 3, 10, {.threads = 0});
  EXPECT_EQ(made, 0);

  EXPECT_EQ(loader.next().sample.item<std::int64_t>(), 3);
  EXPECT_EQ(made, 1);
  EXPECT_GT(loader.take_wait().count(), 0.0);
  EXPECT_EQ(loader.next().sample.item<std::int64_t>(), 4);
  EXPECT_THROW(loader.next(), DataError);
  EXPECT_THROW(loader.next(), DataError);
}

TEST(Loader, RethrowsWhatTheThreadThrewAtItsStep) {
  const auto make = [](std::int64_t step, Workers& workers) {
    if (step == 2) throw DataError({"row 7 is damaged", "train-00000.h5", ""});
    return numbered(step, workers);
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
  const auto make = [&](std::int64_t step, Workers& workers) {
    if (++made == 3) third.set_value();
    return numbered(step, workers);
  };
  {
    Loader loader(make, 0, 1000, {.prefetch = 2});
    third.get_future().wait();  // two in the queue, one in the hand that waits for room
  }
  EXPECT_EQ(made, 3);
}

TEST(Loader, MakesNoMoreAheadThanItsBytesAllow) {
  constexpr std::int64_t kValues = 1 << 18;  // 1 MiB
  std::atomic<std::int64_t> made{0};
  std::promise<void> enough;
  const auto make = [&](std::int64_t step, Workers& workers) {
    Batch batch = numbered(step, workers);
    batch.views.push_back(at::zeros({kValues}));
    if (++made == 4) enough.set_value();
    return batch;
  };
  {
    Loader loader(make, 0, 1000, {.prefetch = 64, .prefetch_bytes = {(3 << 20) + 1024}});
    enough.get_future().wait();  // three in the queue, one in the hand
  }
  EXPECT_EQ(made, 4);

  Loader loader(make, 0, 3, {.prefetch_bytes = {1 << 10}});
  for (std::int64_t step = 0; step < 3; ++step) EXPECT_EQ(loader.next().sample.item<std::int64_t>(), step);
}

TEST(Loader, EndsInTheMiddleOfABatch) {
  std::promise<void> begun;
  std::atomic<std::int64_t> images{0};
  const auto make = [&](std::int64_t step, Workers& workers) {
    workers.for_each(1'000'000'000, [&](std::int64_t) {
      if (++images == 100) begun.set_value();
    });
    return numbered(step, workers);
  };
  Loader loader(make, 0, 10, {.threads = 3});
  begun.get_future().wait();
}

TEST(Loader, AnEmptyRangeHasNoBatch) {
  Loader loader(numbered, 5, 5, {.prefetch = 2});
  EXPECT_THROW(loader.next(), Bug);
}

}  // namespace
}  // namespace cohort::data
