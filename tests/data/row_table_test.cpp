#include "cohort/data/row_table.h"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

namespace cohort::data {
namespace {

TEST(PackedTexts, AreThoseThatWereAdded) {
  std::vector<std::string> texts;
  RandomStream random({.seed = 3, .purpose = Purpose::synthetic});
  for (int i = 0; i < 1000; ++i) texts.emplace_back(random.below(40), static_cast<char>('a' + i % 26));
  const PackedTexts packed(texts);
  ASSERT_EQ(packed.size(), 1000);
  for (std::int64_t i = 0; i < 1000; ++i) ASSERT_EQ(packed[i], texts[static_cast<std::size_t>(i)]) << i;
}

TEST(PackedTexts, TheLeastRepeatedTextIsFound) {
  std::vector<std::string> texts;
  for (int i = 0; i < 700; ++i) texts.push_back(fmt::format("{}", i));
  EXPECT_FALSE(repeated_text(PackedTexts(texts)));
  EXPECT_FALSE(repeated_text(PackedTexts()));
  texts[3] = "600";
  texts[699] = "5";
  EXPECT_EQ(repeated_text(PackedTexts(texts)), "5");
}

/// Numbers of all widths, next to each other and changed later.
TEST(PackedIndices, AreThoseThatWereAddedAndSet) {
  const std::vector<std::int32_t> some{-1, 0, 254, 255, 65'534, 65'535, 2'147'483'647, 7};
  std::vector<std::int32_t> expected;
  PackedIndices packed;
  const auto check = [&] {
    ASSERT_EQ(packed.size(), std::ssize(expected));
    for (std::int64_t i = 0; i < packed.size(); ++i)
      ASSERT_EQ(packed[i], expected[static_cast<std::size_t>(i)]) << i;
  };
  for (int i = 0; i < 10'000; ++i) {
    expected.push_back(i < 9000 ? i % 200 : some[static_cast<std::size_t>(i) % some.size()]);
    packed.add(expected.back());
  }
  check();
  for (int i = 0; i < 10'000; i += 999) {
    expected[static_cast<std::size_t>(i)] = some[static_cast<std::size_t>(i) % some.size()];
    packed.set(i, expected[static_cast<std::size_t>(i)]);
  }
  check();
}

TEST(RowTable, OrderIsByContextsThenId) {
  std::vector<Row> rows;
  RandomStream random({.seed = 5, .purpose = Purpose::synthetic});
  const auto draw = [&](std::uint64_t count) { return static_cast<std::int32_t>(random.below(count)); };
  for (int i = 0; i < 500; ++i)
    rows.push_back({fmt::format("{:x}", random()), draw(3), {draw(4) - 1}, {draw(300), draw(2)}});
  const RowTable table(rows);
  const auto order = dataset_order(table, 3);
  std::int64_t count = 0;
  for (std::size_t split = 0; split < 3; ++split) {
    for (std::size_t i = 0; i < order[split].size(); ++i, ++count) {
      const Row& row = rows[static_cast<std::size_t>(order[split][i])];
      EXPECT_EQ(row.split, static_cast<std::int32_t>(split));
      EXPECT_EQ(table[order[split][i]].labels, row.labels);
      if (i == 0) continue;
      const Row& before = rows[static_cast<std::size_t>(order[split][i - 1])];
      EXPECT_LT(std::tie(before.contexts, before.id), std::tie(row.contexts, row.id));
    }
  }
  EXPECT_EQ(count, 500);
  EXPECT_THROW(dataset_order(table, 2), Bug) << "rows of a split that is not there";
}

}  // namespace
}  // namespace cohort::data
