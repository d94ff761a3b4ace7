#include "cohort/checkpoint/saver.h"

#include <thread>

#include "store_fixture.h"
#include "support/faults.h"

namespace cohort::checkpoint {
namespace {

class SaverTest : public StoreTest {
 protected:
  Saver make(CheckpointConfig config) { return Saver(folder_, ranks_, config); }
  void save(Saver& saver, std::int64_t step) {
    saver.save(state(step, ranks_.rank(), ranks_.size()), meta(step));
  }
  void expect_saved(std::int64_t step) {
    Store store(folder_, ranks_);
    auto loaded = blank(0, 1);
    store.load(step, loaded);
    expect_equal(loaded, state(step, 0, 1));
  }
};

TEST_F(SaverTest, SavesTheStateOfTheCallHoweverItChangesAfter) {
  for (const bool async : {false, true}) {
    Saver saver = make({.async = async, .keep_last = 9});
    const std::int64_t step = async ? 20 : 10;
    auto now = state(step, ranks_.rank(), ranks_.size());
    for (Slice& slice : now) slice.values = slice.values.clone();

    saver.save(now, meta(step));
    if (async) {
      for (Slice& slice : now) slice.values.zero_();
    }
    saver.wait();

    expect_saved(step);
  }
}

TEST_F(SaverTest, OneSaveFollowsTheOther) {
  Saver saver = make({.async = true, .keep_last = 2});

  for (std::int64_t step = 1; step <= 5; ++step) save(saver, step);
  saver.wait();

  EXPECT_EQ(names_in_folder(), (std::vector<std::string>{"latest", "step-00000004", "step-00000005"}));
  expect_saved(4);
  expect_saved(5);
}

TEST_F(SaverTest, ItsEndWaitsForTheSaveUnderWay) {
  {
    Saver saver = make({.async = true});
    save(saver, 3);
  }
  ranks_.barrier();

  expect_saved(3);
}

TEST_F(SaverTest, AFullDiskIsToldAtTheNextCallAndHurtsNothing) {
  const std::vector<Slice> large{
      {"/model/large", {ranks_.size(), 100'000}, ranks_.rank() * 100'000, at::ones({100'000})}};
  Saver saver = make({.async = true, .keep_last = 1});
  save(saver, 1);
  saver.wait();
  {
    const testing::FileSizeLimit full(10'000);
    EXPECT_NO_THROW(saver.save(large, meta(2)));
    EXPECT_THROW(saver.wait(), DataError);
    EXPECT_NO_THROW(saver.wait()) << "an error is told once";
    EXPECT_NO_THROW(saver.save(large, meta(3)));
    EXPECT_THROW(saver.save(large, meta(4)), DataError);
  }
  EXPECT_EQ(names_in_folder(), (std::vector<std::string>{"latest", "step-00000001"}));
  ranks_.barrier();

  saver.save(large, meta(5));
  saver.wait();

  EXPECT_EQ(names_in_folder(), (std::vector<std::string>{"latest", "step-00000005"}));
}

TEST_F(SaverTest, AFullDiskOnOneRankIsToldOnAll) {
  const std::vector<Slice> large{
      {"/model/large", {ranks_.size(), 100'000}, ranks_.rank() * 100'000, at::ones({100'000})}};
  Saver saver = make({.async = true});

  const testing::FileSizeLimit full(ranks_.rank() == ranks_.size() - 1 ? 10'000 : RLIM_INFINITY);
  saver.save(large, meta(2));
  EXPECT_THROW(saver.wait(), DataError);

  EXPECT_TRUE(names_in_folder().empty());
}

TEST_F(SaverTest, IsDueByStepsAndByTime) {
  const Saver never = make({}), by_steps = make({.every_steps = 4, .keep_every = 6}),
              by_time = make({.every = std::chrono::seconds(1)});
  std::vector<std::int64_t> due;
  for (std::int64_t step = 1; step <= 12; ++step) {
    if (by_steps.is_due(step)) due.push_back(step);
    EXPECT_FALSE(never.is_due(step) || by_time.is_due(step));
  }

  EXPECT_EQ(due, (std::vector<std::int64_t>{4, 6, 8, 12}));
  EXPECT_FALSE(never.is_time() || by_steps.is_time());
  while (!by_time.is_time()) std::this_thread::yield();
}

}  // namespace
}  // namespace cohort::checkpoint
