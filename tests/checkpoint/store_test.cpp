#include "cohort/checkpoint/store.h"

#include "cohort/core/random.h"

#include "store_fixture.h"

namespace cohort::checkpoint {
namespace {

using Names = std::vector<std::string>;

TEST_F(StoreTest, WhatWasSavedIsLoadedHoweverItIsCut) {
  Store store(folder_, ranks_, {2});
  EXPECT_EQ(store.latest(), std::nullopt);
  save(store, 1200);

  for (int parts = 1; parts <= 5; ++parts) {
    const int part = ranks_.rank() % parts;
    auto loaded = blank(part, parts);
    store.load(1200, loaded);
    expect_equal(loaded, state(1200, part, parts));
  }
  const Meta read = store.contents(1200).meta;
  EXPECT_EQ(read.step, 1200);
  EXPECT_EQ(read.epoch, 3);
  EXPECT_EQ(read.seed, meta(0).seed);
  EXPECT_EQ(read.config, meta(0).config);
  EXPECT_EQ(read.dataset, meta(0).dataset);
  EXPECT_EQ(store.latest(), 1200);
  EXPECT_EQ(names_in_folder(), (Names{"latest", "step-00001200"}));
}

TEST_F(StoreTest, OneProcessLoadsWhatManySaved) {
  Store store(folder_, ranks_, {1});
  save(store, 1);

  comm::Communicator alone = ranks_.split(ranks_.rank(), "alone");
  auto loaded = blank(0, 1);
  Store(folder_, alone).load(1, loaded);

  expect_equal(loaded, state(1, 0, 1));
}

TEST_F(StoreTest, RanksMayHoldDifferentTensors) {
  Store store(folder_, ranks_, {1});
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
  Store store(folder_, ranks_, {2});
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

TEST_F(StoreTest, SomeStepsAreNeverRemoved) {
  Store store(folder_, ranks_, {1, 3});

  for (std::int64_t step = 1; step <= 7; ++step) save(store, step);

  EXPECT_EQ(names_in_folder(), (Names{"latest", "step-00000003", "step-00000006", "step-00000007"}));
}

TEST_F(StoreTest, TheBestIsNeverRemoved) {
  Store store(folder_, ranks_, {1});
  for (std::int64_t step = 1; step <= 5; ++step) {
    save(store, step);
    on_rank_0([&] {
      if (step == 2) store.keep_best(2);
    });
  }
  EXPECT_EQ(names_in_folder(), (Names{"best", "latest", "step-00000002", "step-00000005"}));
  EXPECT_EQ(store.best(), 2);
  ASSERT_TRUE(locate(folder_ / "best"));
  EXPECT_EQ(locate(folder_ / "best")->step, 2);

  on_rank_0([&] { store.keep_best(5); });
  save(store, 6);
  EXPECT_EQ(names_in_folder(), (Names{"best", "latest", "step-00000005", "step-00000006"}));
  ranks_.barrier();

  save(store, 4);  // a course that was given up, its best as well
  EXPECT_EQ(names_in_folder(), (Names{"best", "latest", "step-00000004"}));
  EXPECT_FALSE(store.best());
  EXPECT_FALSE(locate(folder_ / "best"));
  on_rank_0([&] { store.keep_best(std::nullopt); });
  EXPECT_EQ(names_in_folder(), (Names{"latest", "step-00000004"}));
  ranks_.barrier();
}

// As somebody else's folder may have it.
TEST_F(StoreTest, ABestThatPointsElsewhereIsNone) {
  Store store(folder_, ranks_);
  save(store, 3);
  on_rank_0([&] {
    std::ofstream(folder_ / "best") << "../step-00000003";
    EXPECT_EQ(store.best(), 3);  // beside it
    std::ofstream(folder_ / "best") << "step-00000003/../x";
    EXPECT_FALSE(store.best());
    std::ofstream(folder_ / "other") << "step-00000003";
    std::filesystem::remove(folder_ / "best");
    std::filesystem::create_symlink(folder_ / "other", folder_ / "best");
    EXPECT_FALSE(store.best());
  });
}

TEST_F(StoreTest, NamesSavesThatDidNotEnd) {
  Store store(folder_, ranks_);
  EXPECT_EQ(store.unfinished(), Names{});
  on_rank_0([&] { std::filesystem::create_directories(folder_ / "step-00000009.partial"); });

  EXPECT_EQ(store.unfinished(), Names{"step-00000009.partial"});
  EXPECT_EQ(store.steps(), std::vector<std::int64_t>{});
}

TEST_F(StoreTest, LocatesCheckpoints) {
  Store store(folder_, ranks_);
  save(store, 12);

  const auto found = locate(folder_ / "step-00000012/");

  ASSERT_TRUE(found);
  EXPECT_EQ(found->folder, folder_);
  EXPECT_EQ(found->step, 12);
  EXPECT_FALSE(locate(folder_));
  EXPECT_FALSE(locate(folder_ / "latest"));
  EXPECT_FALSE(locate(folder_ / "step-00000013"));
  EXPECT_FALSE(locate(folder_ / "step-00000012.partial"));
}

// Cut at random places, some parts empty: `part` of `parts`.
std::vector<Slice> uneven(const std::vector<Slice>& whole, int part, int parts) {
  std::vector<Slice> result;
  std::int64_t sample = 0;
  for (const Slice& slice : whole) {
    RandomStream random({.purpose = Purpose::synthetic, .time = parts, .sample = sample++});
    std::vector<std::int64_t> cuts{0, slice.values.numel()};
    for (int i = 1; i < parts; ++i)
      cuts.push_back(
          static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(slice.values.numel()) + 1)));
    std::sort(cuts.begin(), cuts.end());
    const std::int64_t begin = cuts[static_cast<std::size_t>(part)],
                       end = cuts[static_cast<std::size_t>(part) + 1];
    result.push_back({slice.name, slice.shape, begin, slice.values.narrow(0, begin, end - begin)});
  }
  return result;
}

TEST_F(StoreTest, AnyNumberOfRanksLoadsWhatAnyNumberSaved) {
  for (int savers = 1; savers <= ranks_.size(); ++savers) {
    const bool saves = ranks_.rank() < savers;
    comm::Communicator writing = ranks_.split(saves ? 0 : 1, "writing");
    if (saves) Store(folder_, writing).save(uneven(state(savers, 0, 1), ranks_.rank(), savers), meta(savers));
    ranks_.barrier();
    for (int loaders = 1; loaders <= ranks_.size(); ++loaders) {
      const bool loads = ranks_.rank() < loaders;
      comm::Communicator reading = ranks_.split(loads ? 0 : 1, "reading");
      if (!loads) continue;
      auto loaded = uneven(blank(0, 1), ranks_.rank(), loaders + 3);
      Store(folder_, reading).load(savers, loaded);
      expect_equal(loaded, uneven(state(savers, 0, 1), ranks_.rank(), loaders + 3));
    }
    ranks_.barrier();
  }
}

// More than one saved slice and more than one part of a read each, cut across rows.
TEST_F(StoreTest, LargeTensorsComeBack) {
  const std::int64_t rows = 9001, columns = 1001, values = rows * columns, rank = ranks_.rank();
  const std::int64_t begin = values * rank / ranks_.size(), end = values * (rank + 1) / ranks_.size();
  const auto part = [](std::int64_t first, std::int64_t last) {
    return at::arange(first, last, at::kInt).to(at::kFloat);
  };
  Store store(folder_, ranks_);
  store.save({{"/model/large", {rows, columns}, begin, part(begin, end)}}, meta(1));

  std::vector<Slice> loaded{{"/model/large", {rows, columns}, 4'000'000, at::zeros({4'500'000})}};
  store.load(1, loaded);

  EXPECT_TRUE(at::equal(loaded[0].values, part(4'000'000, 8'500'000)));
  EXPECT_GE(store.contents(1).tensors.at("/model/large").slices.size(), 3U);
}

TEST_F(StoreTest, AStepSavedAgainIsReplaced) {
  Store store(folder_, ranks_, {1});
  save(store, 7);

  store.save(state(8, ranks_.rank(), ranks_.size()), meta(7));

  auto loaded = blank(0, 1);
  store.load(7, loaded);
  expect_equal(loaded, state(8, 0, 1));
  EXPECT_EQ(names_in_folder(), (Names{"latest", "step-00000007"}));
}

TEST_F(StoreTest, TheCheckpointJustWrittenStaysEvenBesideNewerOnes) {
  Store store(folder_, ranks_, {1});
  save(store, 50);

  save(store, 10);

  EXPECT_EQ(names_in_folder(), (Names{"latest", "step-00000010"}));
}

TEST_F(StoreTest, RefusesStatesThatDoNotFitTogether) {
  Store store(folder_, ranks_, {1});
  std::vector<Slice> gap{{"/a", {ranks_.size() + 1}, ranks_.rank(), at::zeros({1})}};
  std::vector<Slice> twice{{"/a", {1}, 0, at::zeros({1})}, {"/a", {1}, 0, at::zeros({1})}};

  EXPECT_ANY_THROW(store.save(gap, meta(1)));
  EXPECT_ANY_THROW(store.save(twice, meta(1)));
  EXPECT_FALSE(std::filesystem::exists(folder_));
}

TEST_F(StoreTest, NamesTensorsThatDoNotMatch) {
  Store store(folder_, ranks_, {1});
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
