#include "cohort/core/random.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

namespace cohort {
namespace {

using Words = std::array<std::uint32_t, 4>;

RandomStream stream_of(std::uint64_t seed) {
  return RandomStream(RandomKey{.seed = seed});
}

// tests/kat_vectors of Random123 (github.com/DEShawResearch/random123), lines "philox4x32 10".
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX}, {UINT32_MAX, UINT32_MAX}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// The promise that a resumed run draws the same numbers: these values may never change.
TEST(RandomStreamTest, ValuesOfAKeyAreFixed) {
  RandomStream stream(RandomKey{.seed = 1, .purpose = Purpose::dropout, .time = 2, .sample = 3, .layer = 4});

  const Words first{stream(), stream(), stream(), stream()};

  EXPECT_EQ(first, (Words{0x6a2dd7a2, 0xaacfdcef, 0xb0b3422b, 0xee0a8e2e}));
}

TEST(RandomStreamTest, EveryPartOfTheKeyMakesItsOwnStream) {
  const RandomKey base{.seed = 5, .purpose = Purpose::augment, .time = 6, .sample = 7, .layer = 8};
  std::vector<RandomKey> keys(12, base);
  keys[1].seed = 6;
  keys[2].seed = 5 | std::uint64_t{1} << 32;
  keys[3].purpose = Purpose::dropout;
  keys[4].time = 7;
  keys[5].time = 6 | std::int64_t{1} << 32;
  keys[6].time = -6;
  keys[7].sample = 8;
  keys[8].sample = 7 | std::int64_t{1} << 32;
  keys[9].sample = -7;
  keys[10].layer = 9;
  keys[11] = {.seed = 6, .purpose = Purpose::augment, .time = 5, .sample = 7, .layer = 8};  // swapped

  std::set<std::uint32_t> words;
  for (const RandomKey& key : keys) {
    RandomStream stream(key);
    for (int i = 0; i < 16; ++i) words.insert(stream());
  }

  EXPECT_EQ(words.size(), keys.size() * 16) << "two streams share a word";
}

TEST(RandomStreamTest, NeighbouringStreamsDoNotCorrelate) {
  constexpr int kPairs = 20000;
  double product = 0.0;
  for (int i = 0; i < kPairs; ++i) {
    RandomStream a(RandomKey{.seed = 3, .sample = i}), b(RandomKey{.seed = 3, .sample = i + 1});
    product += (static_cast<double>(a.uniform()) - 0.5) * (static_cast<double>(b.uniform()) - 0.5);
  }

  const double correlation = 12.0 * product / kPairs;  // the variance of a uniform number is 1/12

  EXPECT_LT(std::abs(correlation), 4.0 / std::sqrt(kPairs));
}

TEST(RandomStreamTest, ACopyGoesOnFromTheSamePlace) {
  RandomStream stream = stream_of(1);
  stream();
  RandomStream copy = stream;

  for (int i = 0; i < 10; ++i) EXPECT_EQ(stream(), copy());
}

TEST(RandomStreamTest, UniformHasItsMoments) {
  constexpr int kCount = 200000;
  RandomStream stream = stream_of(2);
  double sum = 0.0, squares = 0.0;
  for (int i = 0; i < kCount; ++i) {
    const double value = static_cast<double>(stream.uniform());
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    sum += value;
    squares += value * value;
  }

  EXPECT_NEAR(sum / kCount, 0.5, 4.0 * std::sqrt(1.0 / 12.0 / kCount));
  EXPECT_NEAR(squares / kCount, 1.0 / 3.0, 4.0 * std::sqrt(4.0 / 45.0 / kCount));
}

TEST(RandomStreamTest, UniformOfAnIntervalStaysInside) {
  RandomStream stream = stream_of(3);
  double sum = 0.0;
  for (int i = 0; i < 10000; ++i) {
    const double value = stream.uniform(-3.0, 5.0);
    ASSERT_TRUE(value >= -3.0 && value < 5.0) << value;
    sum += value;
  }

  EXPECT_NEAR(sum / 10000, 1.0, 4.0 * 8.0 / std::sqrt(12.0 * 10000));
}

TEST(RandomStreamTest, NormalHasItsMoments) {
  constexpr int kCount = 200000;
  RandomStream stream = stream_of(4);
  double sum = 0.0, squares = 0.0, fourth = 0.0;
  for (int i = 0; i < kCount; ++i) {
    const double value = stream.normal();
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    squares += value * value;
    fourth += value * value * value * value;
  }

  EXPECT_NEAR(sum / kCount, 0.0, 4.0 / std::sqrt(kCount));
  EXPECT_NEAR(squares / kCount, 1.0, 4.0 * std::sqrt(2.0 / kCount));
  EXPECT_NEAR(fourth / kCount, 3.0, 4.0 * std::sqrt(96.0 / kCount));
}

TEST(RandomStreamTest, BelowIsUnbiased) {
  for (const std::uint64_t bound : {1, 2, 3, 7, 10}) {
    constexpr int kCount = 100000;
    RandomStream stream = stream_of(bound);
    std::vector<int> hits(bound);
    for (int i = 0; i < kCount; ++i) ++hits.at(stream.below(bound));

    const double expected = static_cast<double>(kCount) / static_cast<double>(bound);
    for (const int count : hits) EXPECT_NEAR(count, expected, 4.5 * std::sqrt(expected) + 1e-9) << bound;
  }
}

// A bound of 3/4 of 2^64: plain multiplication without rejection would hit the thirds unequally.
TEST(RandomStreamTest, BelowIsUnbiasedForHugeBounds) {
  constexpr std::uint64_t kThird = std::uint64_t{1} << 62;
  constexpr int kCount = 60000;
  RandomStream stream = stream_of(12);
  std::array<int, 3> residues{};
  for (int i = 0; i < kCount; ++i) {
    const std::uint64_t value = stream.below(3 * kThird);
    ASSERT_LT(value, 3 * kThird);
    ++residues[value % 3];
  }

  for (const int count : residues) EXPECT_NEAR(count, kCount / 3, 4.5 * std::sqrt(kCount / 3.0));
}

TEST(RandomStreamTest, FillUniformEqualsUniformOneByOneAtEveryOffset) {
  for (std::size_t offset = 0; offset < 9; ++offset) {
    for (std::size_t count = 0; count < 14; ++count) {
      RandomStream filled = stream_of(9);
      for (std::size_t i = 0; i < offset; ++i) filled();
      RandomStream single = filled;
      std::vector<float> values(count);

      filled.fill_uniform(values);

      for (const float value : values) EXPECT_EQ(value, single.uniform()) << offset << " " << count;
      EXPECT_EQ(filled(), single()) << "both streams stand at the same place afterwards";
    }
  }
}

TEST(PermutationTable, HoldsEveryNumberOnce) {
  for (const std::int64_t count : {0, 1, 2, 17, 1000}) {
    std::vector<std::int64_t> order = permutation(count, stream_of(1));
    std::sort(order.begin(), order.end());
    std::vector<std::int64_t> expected(static_cast<std::size_t>(count));
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(order, expected);
  }
}

TEST(PermutationTable, DependsOnTheKeyAlone) {
  EXPECT_EQ(permutation(100, stream_of(1)), permutation(100, stream_of(1)));
  EXPECT_NE(permutation(100, stream_of(1)), permutation(100, stream_of(2)));
}

TEST(PermutationTable, AllOrdersAreEquallyLikely) {
  constexpr int kCount = 24000;
  std::map<std::vector<std::int64_t>, int> hits;
  for (int i = 0; i < kCount; ++i) ++hits[permutation(4, RandomStream(RandomKey{.seed = 1, .time = i}))];

  EXPECT_EQ(hits.size(), 24U);
  for (const auto& [order, count] : hits) EXPECT_NEAR(count, kCount / 24, 4.5 * std::sqrt(kCount / 24.0));
}

TEST(PermutationTable, OfANegativeCountIsABug) {
  EXPECT_THROW(permutation(-1, stream_of(1)), Bug);
}

TEST(Permutation, IsABijection) {
  std::vector<std::int64_t> sizes{65'536, 65'537, 100'003};
  for (std::int64_t size = 0; size <= 2000; ++size) sizes.push_back(size);
  for (const std::int64_t size : sizes) {
    const Permutation order(size, stream_of(size));
    std::vector<bool> hit(static_cast<std::size_t>(size));
    for (std::int64_t place = 0; place < size; ++place) {
      const std::int64_t value = order(place);
      ASSERT_TRUE(value >= 0 && value < size && !hit[static_cast<std::size_t>(value)])
          << size << " " << place;
      hit[static_cast<std::size_t>(value)] = true;
    }
  }
}

TEST(Permutation, ReachesFarWithoutMemory) {
  const std::int64_t size = 1'000'000'000'000;
  const Permutation order(size, stream_of(3));
  double sum = 0;
  for (std::int64_t place = 0; place < 10'000; ++place) {
    ASSERT_LT(order(place), size);
    sum += static_cast<double>(order(place)) / static_cast<double>(size);
  }
  EXPECT_NEAR(sum / 10'000, 0.5, 4.5 * std::sqrt(1.0 / 12 / 10'000));
}

/// The sum of (hits - expected)² / expected over all cells.
double chi_squared(const std::vector<int>& hits, double expected) {
  double sum = 0;
  for (const int count : hits) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

// Over many keys: where a value lands, and where two neighbours land relative to each other, are uniform. 70
// needs the network (with 8 bits the smallest there is); the bound is mean + 5 standard deviations of
// chi-squared.
TEST(Permutation, PlacesAndDistancesOfNeighboursAreUniform) {
  constexpr std::int64_t kSize = 70;
  constexpr int kKeys = 70'000;
  std::vector<int> places(kSize), distances(kSize - 1);
  for (int i = 0; i < kKeys; ++i) {
    const Permutation order(kSize, RandomStream(RandomKey{.seed = 4, .time = i}));
    const std::int64_t first = order(11), second = order(12);
    ++places[static_cast<std::size_t>(first)];
    ++distances[static_cast<std::size_t>((second - first + kSize) % kSize - 1)];
  }
  const auto bound = [](double cells) { return cells - 1 + 5 * std::sqrt(2 * (cells - 1)); };
  EXPECT_LT(chi_squared(places, kKeys / 70.0), bound(70));
  EXPECT_LT(chi_squared(distances, kKeys / 69.0), bound(69));
}

// A fixed network would keep neighbours of one key together more or less often than chance does.
TEST(Permutation, NeighboursPartWithinOneOrder) {
  constexpr std::int64_t kSize = 100'000;
  const Permutation order(kSize, stream_of(8));
  std::vector<int> distances(100);
  for (std::int64_t place = 0; place + 1 < kSize; ++place)
    ++distances[static_cast<std::size_t>((order(place + 1) - order(place) + kSize) % kSize / 1000)];
  EXPECT_LT(chi_squared(distances, (kSize - 1) / 100.0), 99 + 5 * std::sqrt(2 * 99.0));
}

}  // namespace
}  // namespace cohort
