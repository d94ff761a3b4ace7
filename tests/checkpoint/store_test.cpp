#include "cohort/checkpoint/store.h"

#include "store_fixture.h"

namespace cohort::checkpoint {
namespace {

using Names = std::vector<std::string>;

TEST_F(StoreTest, WhatWasSavedIsLoadedHoweverItIsCut) {
  Store store(folder_, ranks_, 2);
  EXPECT_EQ(store.latest(), std::nullopt);
  save(store, 1200);

  for (int parts = 1; parts <= 5; ++parts) {
    const int part = ranks_.rank() % parts;
    auto loaded = blank(part, parts);
    store.load(1200, loaded);
    expect_equal(loaded, state(1200, part, parts));
  }
  const Meta read = store.read_meta(1200);
  EXPECT_EQ(read.step, 1200);
  EXPECT_EQ(read.epoch, 3);
  EXPECT_EQ(read.seed, meta(0).seed);
  EXPECT_EQ(read.config, meta(0).config);
  EXPECT_EQ(read.dataset, meta(0).dataset);
  EXPECT_EQ(store.latest(), 1200);
  EXPECT_EQ(names_in_folder(), (Names{"latest", "step-00001200"}));
}

TEST_F(StoreTest, OneProcessLoadsWhatManySaved) {
  Store store(folder_, ranks_, 1);
  save(store, 1);

  comm::Communicator alone = ranks_.split(ranks_.rank(), "alone");
  auto loaded = blank(0, 1);
  Store(folder_, alone, 1).load(1, loaded);

  expect_equal(loaded, state(1, 0, 1));
}

TEST_F(StoreTest, RanksMayHoldDifferentTensors) {
  Store store(folder_, ranks_, 1);
  std::vector<Slice> mine;
  for (const Slice& slice : state(5, 0, 1)) {
    if (static_cast<int>(slice.name.size()) % ranks_.size() == ranks_.rank()) mine.push_back(slice);
  }

  store.save(mine, meta(5));
  auto loaded = blank(0, 1);
  store.load(5, loaded);

  expect_equal(loaded, state(5, 0, 1));
}

TEST_F(StoreTest, KeepsTheNewestAndClearsWhatAKilledRunLeft) {
  Store store(folder_, ranks_, 2);
  on_rank_0([&] {
    std::filesystem::create_directories(folder_ / "step-00000009.partial");
    std::filesystem::create_directories(folder_ / "step-00000008.old.partial");
  });

  for (std::int64_t step = 1; step <= 4; ++step) save(store, step);

  EXPECT_EQ(names_in_folder(), (Names{"latest", "step-00000003", "step-00000004"}));
  std::string latest;
  std::getline(std::ifstream(folder_ / "latest") >> std::ws, latest);
  EXPECT_EQ(latest, "step-00000004");
  ranks_.barrier();
}

TEST_F(StoreTest, AStepSavedAgainIsReplaced) {
  Store store(folder_, ranks_, 1);
  save(store, 7);

  store.save(state(8, ranks_.rank(), ranks_.size()), meta(7));

  auto loaded = blank(0, 1);
  store.load(7, loaded);
  expect_equal(loaded, state(8, 0, 1));
  EXPECT_EQ(names_in_folder(), (Names{"latest", "step-00000007"}));
}

TEST_F(StoreTest, TheCheckpointJustWrittenStaysEvenBesideNewerOnes) {
  Store store(folder_, ranks_, 1);
  save(store, 50);

  save(store, 10);

  EXPECT_EQ(names_in_folder(), (Names{"latest", "step-00000010"}));
}

TEST_F(StoreTest, RefusesStatesThatDoNotFitTogether) {
  Store store(folder_, ranks_, 1);
  std::vector<Slice> gap{{"/a", {ranks_.size() + 1}, ranks_.rank(), at::zeros({1})}};
  std::vector<Slice> twice{{"/a", {1}, 0, at::zeros({1})}, {"/a", {1}, 0, at::zeros({1})}};

  EXPECT_ANY_THROW(store.save(gap, meta(1)));
  EXPECT_ANY_THROW(store.save(twice, meta(1)));
  EXPECT_FALSE(std::filesystem::exists(folder_));
}

TEST_F(StoreTest, NamesTensorsThatDoNotMatch) {
  Store store(folder_, ranks_, 1);
  save(store, 1);
  std::vector<Slice> misspelt{{"/model/blocks.0.biass", {7}, 0, at::zeros({7})}};
  std::vector<Slice> wider{{"/model/blocks.0.bias", {8}, 0, at::zeros({8})}};

  try {
    store.load(1, misspelt);
    ADD_FAILURE() << "loaded";
  } catch (const DataError& error) {
    EXPECT_NE(error.text().what.find("no tensor '/model/blocks.0.biass'"), std::string::npos) << error.what();
    EXPECT_NE(error.text().fix.find("/model/blocks.0.bias"), std::string::npos) << error.what();
  }
  try {
    store.load(1, wider);
    ADD_FAILURE() << "loaded";
  } catch (const DataError& error) {
    EXPECT_NE(error.text().what.find(
                  "'/model/blocks.0.bias' has the shape [7] in the checkpoint, the model needs [8]"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace cohort::checkpoint
