#include "eval/saliency.h"

#include <cmath>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace cohort::eval {
namespace {

at::Tensor map_of(const std::vector<double>& values, std::int64_t rows) {
  return at::tensor(values, at::kDouble).to(at::kFloat).view({rows, -1});
}

TEST(Saliency, AdccIsTheHarmonicMeanOfItsParts) {
  EXPECT_NEAR(adcc(/*drop=*/0.2, /*coherency=*/0.9, /*complexity=*/0.3), 0.79162304, 5e-9);
  EXPECT_EQ(adcc(1.0, 0.9, 0.3), 0.0);
  EXPECT_EQ(adcc(0.2, 0.0, 0.3), 0.0);
  EXPECT_EQ(adcc(0.2, 0.9, 1.0), 0.0);
  EXPECT_NEAR(adcc(0.0, 1.0, 0.0), 1.0, 1e-15);
}

TEST(Saliency, ADropIsAPartOfWhatWasThereAndARiseIsNone) {
  EXPECT_DOUBLE_EQ(average_drop(0.8, 0.6), 0.25);
  EXPECT_EQ(average_drop(0.6, 0.8), 0.0);
  EXPECT_EQ(average_drop(0.0, 0.0), 0.0);
}

TEST(Saliency, CoherencyIsPearsonsCorrelationFromZeroToOne) {
  const at::Tensor map = map_of({0.0, 0.25, 0.5, 1.0}, 2);

  EXPECT_NEAR(coherency(map, map * 0.5 + 0.1), 1.0, 1e-7);
  EXPECT_NEAR(coherency(map, 1 - map), 0.0, 1e-7);
  // Of (0, 1, 2, 4) and (0, 0, 4, 0): deviations (-1.75, -0.75, 0.25, 2.25) and (-1, -1, 3, -1).
  EXPECT_NEAR(coherency(map, map_of({0, 0, 1, 0}, 2)), (1 + 1.0 / std::sqrt(8.75 * 12)) / 2, 1e-7);
  EXPECT_EQ(coherency(map, at::full({2, 2}, 0.5)), 0.0);
  EXPECT_EQ(coherency(at::zeros({2, 2}), map), 0.0);
  EXPECT_NEAR(complexity(map), 0.4375, 1e-12);
}

TEST(Saliency, PixelsTakeTurnsByFallingSaliencyAndThenByPlace) {
  const PixelOrder order(map_of({0.1, 0.7, 0.7, 0.9, 0.1, 0.0}, 2));
  const at::Tensor from = at::zeros({2, 2, 3}), other = at::ones({2, 2, 3});

  EXPECT_TRUE(at::equal(order.replaced(from, other, 0), from));
  const at::Tensor two = order.replaced(from, other, 2);
  for (std::int64_t channel = 0; channel < 2; ++channel)
    EXPECT_TRUE(at::equal(two[channel], map_of({0, 1, 0, 1, 0, 0}, 2)));
  EXPECT_TRUE(at::equal(order.replaced(from, other, 4)[0], map_of({1, 1, 1, 1, 0, 0}, 2)));
  EXPECT_TRUE(at::equal(order.replaced(from, other, 6), other));
  EXPECT_TRUE(order.begins_in(map_of({0, 0, 0, 1, 0, 0}, 2).to(at::kBool)));
  EXPECT_FALSE(order.begins_in(map_of({1, 1, 1, 0, 1, 1}, 2).to(at::kBool)));
}

TEST(Saliency, ABlurKeepsConstantsAndSpreadsAPoint) {
  EXPECT_TRUE(at::allclose(blurred(at::full({2, 3, 4}, 0.7)), at::full({2, 3, 4}, 0.7)));
  at::Tensor point = at::zeros({1, 21, 21});
  point[0][10][10] = 1;

  const at::Tensor spread = blurred(point)[0];

  double sum = 0;
  for (std::int64_t i = -5; i <= 5; ++i) sum += std::exp(-0.5 * static_cast<double>(i * i) / 25);
  EXPECT_NEAR(spread[10][10].item<double>(), 1 / (sum * sum), 1e-7);
  EXPECT_NEAR(spread[7][12].item<double>(), std::exp(-0.5 * 13 / 25) / (sum * sum), 1e-7);
  EXPECT_EQ(spread[10][16].item<double>(), 0.0);
}

TEST(Saliency, AreasAreTrapezoids) {
  EXPECT_DOUBLE_EQ(area_under(std::vector<double>{0.0, 1.0}), 0.5);
  EXPECT_DOUBLE_EQ(area_under(std::vector<double>{0.2, 0.4, 1.0}), (0.3 + 0.7) / 2);
}

TEST(Saliency, RegionsOfMasksAreThoseOfTheClassOrAllThatIsNotZero) {
  const data::Field field{"m", data::FieldKind::mask,    data::ValueType::u8, {2, 3}, data::Codec::raw,
                          "",  {"nothing", "cat", "dog"}};
  const data::Column column{at::tensor({0, 1, 2, 255, 0, 0, 0, 0, 0, 0, 255, 0}, at::kByte).view({2, 2, 3}),
                            {}};

  EXPECT_TRUE(
      at::equal(*region_of(field, column, 0, 2, 3, "dog"), map_of({0, 0, 1, 0, 0, 0}, 2).to(at::kBool)));
  EXPECT_TRUE(
      at::equal(*region_of(field, column, 0, 2, 3, "bird"), map_of({0, 1, 1, 0, 0, 0}, 2).to(at::kBool)));
  EXPECT_FALSE(region_of(field, column, 1, 2, 3, "bird").has_value());
}

TEST(Saliency, RegionsOfBoxesHaveThePixelsWhoseCentresLieInThem) {
  const data::Field field{"b", data::FieldKind::boxes, data::ValueType::f32, {-1, 5}, data::Codec::raw,
                          "",  {"cat", "dog"}};
  const data::Column column{
      at::tensor({0.0, 0.0, 1.0, 1.0, 0.0, 0.6, 0.4, 2.6, 1.4, 1.0}, at::kDouble).to(at::kFloat).view({2, 5}),
      at::tensor({0, 0, 2}, at::kLong)};

  EXPECT_FALSE(region_of(field, column, 0, 2, 3, "cat").has_value());
  EXPECT_TRUE(
      at::equal(*region_of(field, column, 1, 2, 3, "dog"), map_of({0, 1, 1, 0, 0, 0}, 2).to(at::kBool)));
  EXPECT_TRUE(
      at::equal(*region_of(field, column, 1, 2, 3, "bird"), map_of({1, 1, 1, 0, 0, 0}, 2).to(at::kBool)));
  const at::Tensor region = map_of({1, 1, 0, 0}, 2).to(at::kBool);
  EXPECT_DOUBLE_EQ(region_iou(map_of({0.5, 0.4, 0.9, 0.0}, 2), region), 1.0 / 3);
}

}  // namespace
}  // namespace cohort::eval
