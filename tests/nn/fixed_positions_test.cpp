#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/nn/position.h"

namespace cohort {
namespace {

// Value i of a quarter at a place.
double wave(double place, std::int64_t i, std::int64_t quarter, bool is_cosine) {
  const double angle = place / std::pow(10000.0, static_cast<double>(i) / static_cast<double>(quarter));
  return is_cosine ? std::cos(angle) : std::sin(angle);
}

class FixedPositions : public ::testing::TestWithParam<nn::PositionOrder> {};

TEST_P(FixedPositions, AreWavesOfRowAndColumn) {
  const nn::PatchGrid grid{2, 3};
  const at::Tensor table = nn::fixed_positions(/*width=*/12, /*prefix=*/2, grid, GetParam());
  ASSERT_EQ(table.sizes(), (at::IntArrayRef{1, 8, 12}));
  EXPECT_EQ(table.narrow(1, 0, 2).abs().sum().item<double>(), 0.0);
  const bool columns_first = GetParam() == nn::PositionOrder::mae;
  for (std::int64_t patch = 0; patch < grid.count(); ++patch) {
    for (std::int64_t i = 0; i < 12; ++i) {
      const std::int64_t quarter = i / 3;
      const bool of_column = (quarter < 2) == columns_first;
      const auto place = static_cast<double>(of_column ? patch % 3 : patch / 3);
      EXPECT_NEAR(table[0][2 + patch][i].item<double>(), wave(place, i % 3, 3, quarter % 2 == 1), 1e-6);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Orders, FixedPositions,
                         ::testing::Values(nn::PositionOrder::mae, nn::PositionOrder::cell));

TEST(FixedPositionsOfAnyWidth, NeedFourEqualParts) {
  EXPECT_THROW(nn::fixed_positions(10, 0, {2, 2}, nn::PositionOrder::mae), Bug);
}

}  // namespace
}  // namespace cohort
