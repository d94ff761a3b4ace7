// The kernel's way through the pieces, replayed on the CPU lane by lane, against whole parameters.
#include "shard/norms.h"

#include <algorithm>
#include <array>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace cohort::shard {
namespace {

/// Two flat parameters with slots that begin and end inside chunks, one of them longer than two chunks, and
/// padding between.
std::vector<FlatShard> whole_shards() {
  std::vector<FlatShard> shards(2);
  shards[0].slots = {{"a", {3, 1001}, 0}, {"b", {7}, 3008}, {"c", {1040}, 3024}};
  shards[1].slots = {{"d", {2048}, 0}, {"e", {}, 2048}};
  shards[0].value = at::empty({5 * 1024});
  shards[1].value = at::empty({3 * 1024});
  return shards;
}

/// As squared_norms() on the CPU forms the sum of a piece.
double by_definition(const HeldPiece& piece) {
  std::array<double, kSquareLanes> lanes{};
  for (std::int64_t i = 0; i < piece.count; ++i) {
    const double value = static_cast<double>(piece.values[i]);
    lanes[static_cast<std::size_t>(i % kSquareLanes)] += value * value;
  }
  double sum = 0.0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

std::vector<double> replay(const HeldParts& held) {
  std::vector<double> table(static_cast<std::size_t>(held.table));
  for (std::int64_t number = 0; number < held.pieces; ++number) {
    const HeldPiece piece = find_piece(held.parts.data(), std::ssize(held.parts), number);
    std::array<double, kSquareLanes> lanes{};
    for (std::int64_t lane = 0; lane < kSquareLanes; ++lane)
      lanes[static_cast<std::size_t>(lane)] = sum_lane(piece, lane);
    EXPECT_EQ(sum_of_lanes(lanes.data()), by_definition(piece)) << number;
    EXPECT_EQ(table.at(static_cast<std::size_t>(piece.number)), 0.0) << "two pieces in one place";
    table[static_cast<std::size_t>(piece.number)] = sum_of_lanes(lanes.data());
  }
  return table;
}

TEST(SquareSums, CutIntoRanksFillTheTableOfTheWhole) {
  at::manual_seed(1);
  const std::vector<FlatShard> whole = whole_shards();
  const std::vector<at::Tensor> values{at::randn({5 * 1024}), at::randn({3 * 1024})};
  const std::vector<double> expected = replay(held_parts(whole, values));
  EXPECT_EQ(expected.size(), 3U + 1U + 2U + 2U + 1U);

  std::vector<double> sum(expected.size());
  for (std::int64_t rank = 0; rank < 3; ++rank) {  // of two chunks each; the last ones may be short or empty
    std::vector<FlatShard> shards = whole;
    std::vector<at::Tensor> parts;
    for (std::size_t s = 0; s < shards.size(); ++s) {
      const std::int64_t begin = std::min(rank * 2048, values[s].numel()),
                         end = std::min(begin + 2048, values[s].numel());
      shards[s].begin = begin;
      shards[s].value = shards[s].value.narrow(0, begin, end - begin);
      parts.push_back(values[s].narrow(0, begin, end - begin));
    }
    const std::vector<double> of_rank = replay(held_parts(shards, parts));
    std::transform(sum.begin(), sum.end(), of_rank.begin(), sum.begin(), std::plus<>());
  }
  EXPECT_EQ(sum, expected);
}

TEST(SquareSums, AreThoseOfTheParametersWithoutPadding) {
  const std::vector<FlatShard> shards = whole_shards();
  std::vector<at::Tensor> values{at::ones({5 * 1024}), at::Tensor()};
  const std::vector<double> table = replay(held_parts(shards, values));
  EXPECT_EQ(table, (std::vector<double>{1024, 1024, 955, 7, 48, 992, 0, 0, 0}));
}

}  // namespace
}  // namespace cohort::shard
