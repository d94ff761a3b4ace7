// Losses of domain adaptation in closed forms, and where domains lack images or classes. The published
// numbers: golden_check, domains.*.
#include "cohort/method/adaptation_losses.h"

#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/small_model.h"

namespace cohort::method {
namespace {

at::Tensor doubles(std::vector<double> values, at::IntArrayRef shape) {
  return at::tensor(values, at::kDouble).view(shape);
}

TEST(AdaptationLosses, DiscrepancyOfFourPoints) {
  const at::Tensor source = doubles({0, 0, 1, 0}, {2, 2}), target = doubles({0, 2, 1, 2}, {2, 2});
  EXPECT_NEAR(mean_discrepancy(source, target).item<double>(), 2.96259730, 1e-8);
  EXPECT_NEAR(mean_discrepancy(source, source).item<double>(), 0, 1e-15);
}

TEST(AdaptationLosses, DiscrepancyOfEqualPointsIsANumber) {
  const at::Tensor same = at::ones({3, 2}, at::kDouble).requires_grad_();
  const at::Tensor loss = mean_discrepancy(same, same);
  loss.backward();
  EXPECT_EQ(loss.item<double>(), 0);
  EXPECT_TRUE(same.grad().isfinite().all().item<bool>());
}

TEST(AdaptationLosses, ClassesOfTheSameImagesAgree) {
  const at::Tensor points = testing::normal_values({6, 4}, 1).to(at::kDouble);
  const at::Tensor labels = at::tensor({0, 1, 2, 0, 1, 2}, at::kLong);
  const at::Tensor certain = at::one_hot(labels, 3).to(at::kDouble) * 1000;
  const auto [loss, classes] = class_discrepancy(points, labels, points, certain);
  EXPECT_NEAR(loss.item<double>(), 0, 1e-14);
  EXPECT_TRUE(classes.equal(at::tensor({0, 1, 2}, at::kLong)));
}

TEST(AdaptationLosses, AClassThatOneDomainLacksIsLeftOut) {
  const at::Tensor source = testing::normal_values({3, 4}, 1), target = testing::normal_values({2, 4}, 2);
  const at::Tensor labels = at::tensor({0, 0, -1}, at::kLong), logits = testing::normal_values({2, 3}, 3);
  const auto [loss, classes] = class_discrepancy(source, labels, target, logits);
  EXPECT_TRUE(classes.equal(at::tensor({0}, at::kLong)));
  EXPECT_TRUE(loss.isfinite().item<bool>());
  // The unlabelled image counts nowhere but in the width of the kernels.
  const auto none = class_discrepancy(source, at::full({3}, -1, at::kLong), target, logits);
  EXPECT_EQ(none.loss.item<float>(), 0);
  EXPECT_EQ(none.classes.numel(), 0);
}

TEST(AdaptationLosses, ConfusionAndInformationOfThreeImages) {
  const at::Tensor logits = doubles({2, 0, -1, .5, 1.5, 0, -1, .2, 3}, {3, 3});
  EXPECT_NEAR(class_confusion(logits, 2.0).item<double>(), 0.53814181, 1e-8);
  const Information both = information(logits);
  EXPECT_NEAR(both.conditional.item<double>(), 0.57735039, 1e-8);
  EXPECT_NEAR(both.marginal.item<double>(), 1.08810328, 1e-8);
}

TEST(AdaptationLosses, CertainImagesHaveNoEntropy) {
  const at::Tensor logits = (at::eye(2, at::kFloat) * 500).requires_grad_();
  const Information both = information(logits);
  (both.conditional - both.marginal).backward();
  EXPECT_EQ(both.conditional.item<float>(), 0);
  EXPECT_TRUE(logits.grad().isfinite().all().item<bool>());
  EXPECT_TRUE(certainty_weights(logits).equal(at::ones({2})));
}

TEST(AdaptationLosses, GradientsAreReversedAndScaled) {
  const at::Tensor x = at::tensor({1.0, -2.0}, at::kDouble).requires_grad_();
  const at::Tensor y = reversed_gradient(x, 0.25);
  EXPECT_TRUE(y.equal(x));
  (y * at::tensor({3.0, 5.0}, at::kDouble)).sum().backward();
  EXPECT_TRUE(x.grad().equal(at::tensor({-0.75, -1.25}, at::kDouble)));
}

TEST(AdaptationLosses, RandomDirectionsKeepProductsOnAverage) {
  constexpr std::int64_t kDraws = 4000;
  const at::Tensor f = testing::normal_values({2, 3}, 1), g = testing::normal_values({2, 4}, 2);
  const at::Tensor whole = conditioned_features(f, g);
  double sum = 0;
  for (std::int64_t draw = 0; draw < kDraws; ++draw) {
    const at::Tensor random = testing::normal_values({7, 5}, 100 + static_cast<std::uint64_t>(draw));
    const at::Tensor map =
        randomly_conditioned_features(f, g, random.narrow(0, 0, 3), random.narrow(0, 3, 4));
    sum += (map[0] * map[1]).sum().item<double>();
  }
  EXPECT_NEAR(sum / kDraws, (whole[0] * whole[1]).sum().item<double>(), 0.1);
}

TEST(AdaptationLosses, OneColumnOfAnAdversaryIsTheSecondDomain) {
  const at::Tensor logits = testing::normal_values({4, 1}, 1), domain = at::tensor({0, 1, 1, 0}, at::kLong);
  const at::Tensor two = at::cat({at::zeros({4, 1}), logits}, 1);
  const at::Tensor weights = at::tensor({0.5, 1.5, 1.0, 1.0});
  EXPECT_TRUE(at::allclose(domain_cross_entropy(logits, domain, weights),
                           domain_cross_entropy(two, domain, weights)));
}

}  // namespace
}  // namespace cohort::method
