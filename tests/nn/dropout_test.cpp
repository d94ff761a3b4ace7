#include "cohort/nn/dropout.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "../support/small_model.h"

namespace cohort {
namespace {

using testing::indices;

nn::Conditions training(const at::Tensor& samples) {
  nn::Conditions conditions;
  conditions.sample = samples;
  conditions.seed = 11;
  conditions.step = 5;
  conditions.training = true;
  return conditions;
}

TEST(Dropout, KeepsTheExpectationAndDropsTheRightPart) {
  const at::Tensor ones = at::ones({64, 50, 20});
  const at::Tensor dropped = nn::dropout(ones, 0.3, training(at::arange(64)), 2);
  const double values = 64.0 * 50.0 * 20.0;
  const double deviation = std::sqrt(0.3 * 0.7 / values);
  EXPECT_NEAR(dropped.eq(0).to(at::kDouble).mean().item<double>(), 0.3, 4 * deviation);
  EXPECT_TRUE(at::allclose(dropped.masked_select(dropped.ne(0)), at::full({1}, 1.0F / 0.7F)));
}

TEST(Dropout, DependsOnSampleStepLayerAndSeedAndNothingElse) {
  const at::Tensor ones = at::ones({3, 4, 8});
  const nn::Conditions conditions = training(indices({70, 3, 41}));
  const at::Tensor all = nn::dropout(ones, 0.5, conditions, 2);
  const at::Tensor alone = nn::dropout(ones.narrow(0, 0, 1), 0.5, training(indices({3})), 2);
  EXPECT_TRUE(at::equal(alone[0], all[1]));
  EXPECT_FALSE(at::equal(all[0], all[1]));
  EXPECT_FALSE(at::equal(nn::dropout(ones, 0.5, conditions, 3), all));
  nn::Conditions later = conditions, other = conditions;
  ++later.step;
  ++other.seed;
  EXPECT_FALSE(at::equal(nn::dropout(ones, 0.5, later, 2), all));
  EXPECT_FALSE(at::equal(nn::dropout(ones, 0.5, other, 2), all));
}

TEST(Dropout, IsOffOutsideTraining) {
  nn::Conditions conditions = training(indices({1, 2}));
  conditions.training = false;
  const at::Tensor values = at::ones({2, 6});
  EXPECT_TRUE(nn::dropout(values, 0.5, conditions, 0).is_same(values));
  EXPECT_TRUE(nn::drop_path(values, 0.5, conditions, 0).is_same(values));
}

TEST(Dropout, NeedsTheSamplesOfAllImages) {
  EXPECT_THROW(nn::dropout(at::ones({3, 6}), 0.5, training(indices({1, 2})), 0), Bug);
  EXPECT_THROW(nn::drop_path(at::ones({3, 6}), 0.5, training(indices({1, 2})), 0), Bug);
}

TEST(DropPath, DropsWholeImages) {
  const at::Tensor dropped = nn::drop_path(at::ones({2000, 3, 2}), 0.25, training(at::arange(2000)), 1);
  const at::Tensor per_image = dropped.flatten(1);
  EXPECT_TRUE(at::equal(per_image.amax(1), per_image.amin(1)));
  EXPECT_NEAR(per_image.select(1, 0).eq(0).to(at::kDouble).mean().item<double>(), 0.25,
              4 * std::sqrt(0.25 * 0.75 / 2000));
  EXPECT_NEAR(dropped.max().item<double>(), 1.0 / 0.75, 1e-6);
}

}  // namespace
}  // namespace cohort
