#include "cohort/eval/feature_statistics.h"

#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/small_model.h"

namespace cohort::eval {
namespace {

FeatureStatistics feature_statistics(const at::Tensor& features) {
  return eval::feature_statistics(features.size(0), [&](std::int64_t first, std::int64_t count) {
    return features.narrow(0, first, count);
  });
}

// Rows e1, e1, e2, e3 with lengths 2, 2, 2, 3: singular values √8, 2, 3; by hand.
TEST(FeatureStatistics, AreThoseOfTheFormulas) {
  const at::Tensor features = at::zeros({4, 3});
  features[0][0] = features[1][0] = features[2][1] = 2;
  features[3][2] = 3;
  double entropy = 0;
  for (const double value : {std::sqrt(8.0), 2.0, 3.0}) {
    const double part = value / (std::sqrt(8.0) + 5);
    entropy -= part * std::log(part);
  }
  const double deviation = (0.5 + 2 * std::sqrt(0.25 - 0.0625)) / 3;

  const FeatureStatistics statistics = feature_statistics(features);

  EXPECT_NEAR(statistics.effective_rank, std::exp(entropy), 1e-9);
  EXPECT_NEAR(statistics.deviation, deviation, 1e-9);
}

TEST(FeatureStatistics, OfManyImagesAreThoseOfTheWholeMatrix) {
  const at::Tensor features = testing::normal_values({20000, 6});
  const at::Tensor singular = at::linalg_svdvals(features.to(at::kDouble));
  const at::Tensor part = singular / singular.sum();
  const at::Tensor unit = features.to(at::kDouble) / features.to(at::kDouble).norm(2, 1, true);

  const FeatureStatistics statistics = feature_statistics(features);

  EXPECT_NEAR(statistics.effective_rank, std::exp(-(part * part.log()).sum().item<double>()), 1e-9);
  EXPECT_NEAR(statistics.deviation, unit.std(0, false).mean().item<double>(), 1e-9);
}

TEST(FeatureStatistics, ShowCollapse) {
  const FeatureStatistics same = feature_statistics(at::ones({50, 8})),
                          nothing = feature_statistics(at::zeros({50, 8}));

  EXPECT_NEAR(same.effective_rank, 1.0, 1e-5);
  EXPECT_NEAR(same.deviation, 0.0, 1e-7);
  EXPECT_EQ(nothing.effective_rank, 0.0);
  EXPECT_EQ(nothing.deviation, 0.0);
}

}  // namespace
}  // namespace cohort::eval
