// Features that lie in files: their bits, and what classifiers of them hold in memory.
#include "cohort/eval/stored_rows.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/eval/knn.h"
#include "cohort/eval/probe.h"

#include "support/heap_peak.h"
#include "support/ranks.h"
#include "support/small_model.h"
#include "support/stored_rows.h"

namespace cohort::eval {
namespace {

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.view(at::kInt).equal(b.view(at::kInt));
}

TEST(StoredRows, KeepTheBitsOfEveryRank) {
  comm::Communicator world = test::world();
  at::Tensor values = testing::normal_values({1001, 3});
  values[0][0] = -0.0;
  values[500][1] = NAN;
  values[1000][2] = -INFINITY;

  const StoredRows rows = testing::stored(values, world);

  EXPECT_TRUE(same_bits(rows.block(0, 1001), values));
  EXPECT_TRUE(same_bits(rows.block(437, 129), values.narrow(0, 437, 129)));
  const at::Tensor some = testing::indices({1000, 3, 4, 5, 3, 0});
  EXPECT_TRUE(same_bits(rows.gather(some), values.index_select(0, some)));
}

TEST(StoredRows, ThatNobodyWroteAreZero) {
  comm::Communicator world = test::world();
  StoredRows rows(7, 2, world, at::kInt);

  EXPECT_TRUE(rows.block(0, 7).equal(at::zeros({7, 2}, at::kInt)));
  if (world.rank() == world.size() - 1) rows.write(testing::indices({4}), at::full({1, 2}, -3, at::kInt));

  EXPECT_EQ(rows.block(4, 1)[0][1].item<int>(), -3);
  EXPECT_EQ(rows.block(0, 7).sum().item<int>(), -6);
}

// 5,000,000 values are reduced in two pieces.
TEST(StoredRows, OfManyValuesAreReadInPieces) {
  comm::Communicator world = test::world();
  const at::Tensor values = at::arange(5'000'000, at::kFloat).view({5000, 1000});

  const StoredRows rows = testing::stored(values, world);

  EXPECT_TRUE(rows.block(0, 5000).equal(values));
}

TEST(StoredRows, AreSharedOutBlockByBlock) {
  comm::Communicator world = test::world();
  const at::Tensor values = at::arange(20000).to(at::kFloat).unsqueeze(1);
  const StoredRows rows = testing::stored(values, world);
  at::Tensor seen = at::zeros({20000});

  rows.share_out([&](std::int64_t first, const at::Tensor& block) {
    seen.narrow(0, first, block.size(0)).add_(block.squeeze(1).eq(at::arange(first, first + block.size(0))));
  });

  world.all_reduce(seen).wait();
  EXPECT_TRUE(seen.equal(at::ones({20000})));
}

TEST(StoredRows, OfMoreImagesThanAProbeTakesAreRefused) {
  comm::Communicator world = test::world();
  const StoredRows rows(std::int64_t{1} << 31, 2, world);  // nobody writes one
  const LabelsOf none = [](std::int64_t, std::int64_t count) {
    return std::vector<std::int32_t>(static_cast<std::size_t>(count), -1);
  };
  try {
    (void)eval::train_probes({rows, none}, 2, {.rates = {0.1}}, world);
    FAIL() << "2,147,483,648 images";
  } catch (const UsageError& error) {
    EXPECT_EQ(error.text().what,
              "the training split has 2147483648 images, a probe learns from 2147483647 at most");
  }
}

TEST(StoredRows, SayWhereThereIsNoRoom) {
  comm::Communicator world = test::world();
  StoredRows rows(3, 2, world);
  const char* const before = std::getenv("TMPDIR");
  const std::string kept = before == nullptr ? "" : before;
  ::setenv("TMPDIR", "/nowhere", 1);
  try {
    rows.write(testing::indices({0}), at::ones({1, 2}));
    ADD_FAILURE() << "there is no such folder";
  } catch (const DataError& error) {
    EXPECT_EQ(error.text().what, "cannot make a temporary file of features: No such file or directory");
    EXPECT_EQ(error.text().where, "/nowhere (TMPDIR)");
  }
  if (before == nullptr)
    ::unsetenv("TMPDIR");
  else
    ::setenv("TMPDIR", kept.c_str(), 1);
}

constexpr std::int64_t kWide = 64;

/// Features of `count` images, made block by block.
StoredRows made(std::int64_t count, comm::Communicator& ranks) {
  constexpr std::int64_t kBlock = 4096;
  StoredRows rows(count, kWide, ranks);
  for (std::int64_t first = 0; first < count; first += kBlock)
    if (first / kBlock % ranks.size() == ranks.rank()) {
      const std::int64_t here = std::min(kBlock, count - first);
      rows.write(at::arange(first, first + here), testing::normal_values({here, kWide}, first));
    }
  return rows;
}

/// Every seventh has none.
std::vector<std::int32_t> made_labels(std::int64_t first, std::int64_t count) {
  std::vector<std::int32_t> labels;
  for (std::int64_t row = first; row < first + count; ++row)
    labels.push_back(row % 7 == 0 ? -1 : static_cast<std::int32_t>(row % 3));
  return labels;
}

constexpr std::int64_t kFew = 40'000, kMany = 160'000;
// Of the 120,000 more images, which are 33 MiB: less than half a byte each.
constexpr std::int64_t kMostMore = 60'000;

TEST(MemoryOfFeatures, NeighboursHoldBlocks) {
  comm::Communicator world = test::world();
  const auto held = [&](std::int64_t count, std::int64_t asked) {
    const StoredRows bank = made(count, world), queries = made(asked, world);
    return testing::HeapPeak::of([&] {
      classify_by_neighbours({bank, made_labels}, queries, 3, {.neighbours = {5}}, world,
                             [](std::size_t, const at::Tensor&, const at::Tensor&) {});
    });
  };
  (void)held(kFew, 100), (void)held(9000, 8192);  // libraries keep workspaces from here on

  const std::int64_t few = held(kFew, 100), many = held(kMany, 100);
  EXPECT_LT(many - few, kMostMore);
  EXPECT_LT(held(9000, 5 * 8192) - held(9000, 4 * 8192), kMostMore);
}

TEST(MemoryOfFeatures, ProbesHoldBlocksAndASmallOrder) {
  comm::Communicator world = test::world();
  const auto held = [&](std::int64_t count) {
    const StoredRows features = made(count, world);
    return testing::HeapPeak::of([&] {
      (void)eval::train_probes({features, made_labels}, 3, {.rates = {0.1}, .epochs = 1, .batch = 4096},
                               world);
    });
  };
  (void)held(kFew);

  const std::int64_t few = held(kFew), many = held(kMany), order = 8 * (kMany - kFew) * 6 / 7;

  EXPECT_LT(many - few, order + kMostMore);
}

}  // namespace
}  // namespace cohort::eval
