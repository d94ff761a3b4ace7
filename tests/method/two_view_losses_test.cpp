// Losses on two views against their formulas, written out in loops over doubles; what published code computes
// is in tests/golden, which golden_check compares.
#include "cohort/method/two_view_losses.h"

#include <cmath>
#include <functional>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"

namespace cohort {
namespace {

constexpr double kBound = 1e-12;

at::Tensor waves(std::int64_t images, std::int64_t width, double phase) {
  return at::sin(at::arange(images * width, at::kDouble) * 1.7 + phase).view({images, width}) * 1.5 + 0.2;
}

double inner_product(const at::Tensor& a, const at::Tensor& b) {
  return (a * b).sum().item<double>();
}

double cosine_of(const at::Tensor& a, const at::Tensor& b) {
  return inner_product(a, b) / std::sqrt(inner_product(a, a) * inner_product(b, b));
}

double nt_xent_by_formula(const at::Tensor& z1, const at::Tensor& z2, double temperature) {
  const at::Tensor all = at::cat({z1, z2});
  const std::int64_t images = z1.size(0);
  double sum = 0.0;
  for (std::int64_t i = 0; i < 2 * images; ++i) {
    double others = 0.0;
    for (std::int64_t j = 0; j < 2 * images; ++j) {
      if (j != i) others += std::exp(cosine_of(all[i], all[j]) / temperature);
    }
    sum += std::log(others) - cosine_of(all[i], all[(i + images) % (2 * images)]) / temperature;
  }
  return sum / static_cast<double>(2 * images);
}

TEST(TwoViewLosses, NtXentPicksTheOtherViewAmongAllOthers) {
  const at::Tensor z1 = waves(5, 3, 0.0), z2 = waves(5, 3, 1.0);
  EXPECT_NEAR(method::nt_xent(z1, z2, 0.2).item<double>(), nt_xent_by_formula(z1, z2, 0.2), kBound);
}

TEST(TwoViewLosses, NtXentOfPartsIsTheMeanOverThem) {
  const at::Tensor z1 = waves(6, 3, 0.0), z2 = waves(6, 3, 1.0);
  double sum = 0.0;
  for (const std::int64_t begin : {0, 2, 4})
    sum += nt_xent_by_formula(z1.narrow(0, begin, 2), z2.narrow(0, begin, 2), 0.5);
  EXPECT_NEAR(method::nt_xent(z1, z2, 0.5, 3).item<double>(), sum / 3, kBound);
  EXPECT_THROW(method::nt_xent(z1, z2, 0.5, 4), Bug);
}

TEST(TwoViewLosses, TheOtherViewIsFoundWhereItIsTheNearest) {
  const at::Tensor z = at::eye(4, at::kDouble);
  EXPECT_EQ(method::other_view_found(z, z), 8.0);
  EXPECT_EQ(method::other_view_found(z, z.roll({1}, {0}) * 3), 0.0);
}

TEST(TwoViewLosses, BarlowTwinsIsZeroForColumnsThatAgreeAndAreIndependent) {
  const at::Tensor z = at::tensor(std::vector<double>{1, 1, 1, -1, -1, 1, -1, -1}).view({4, 2}) * 100;
  EXPECT_NEAR(method::barlow_twins(z, z * 7 + 3, 0.1).item<double>(), 0.0, 1e-8);
  const at::Tensor swapped = z.flip({1});  // each column agrees with the other one: 1 + 1 + lambda (1 + 1)
  EXPECT_NEAR(method::barlow_twins(z, swapped, 0.1).item<double>(), 2.2, 1e-7);
}

TEST(TwoViewLosses, SpectralContrastShortensLongRowsAlone) {
  const at::Tensor z1 = waves(4, 3, 0.0), z2 = waves(4, 3, 2.0);
  const double mu = 2.0;
  const auto clipped = [&](const at::Tensor& row) {
    const double length = std::sqrt(inner_product(row, row));
    return length < std::sqrt(mu) ? row : row / length * std::sqrt(mu);
  };
  double own = 0.0, others = 0.0;
  for (std::int64_t i = 0; i < 4; ++i) {
    for (std::int64_t j = 0; j < 4; ++j) {
      const double product = inner_product(clipped(z1[i]), clipped(z2[j]));
      (i == j ? own : others) += i == j ? product / 4 : product * product / 12;
    }
  }
  EXPECT_NEAR(method::spectral_contrastive(z1, z2, mu).item<double>(), (others - 2 * own) / mu, kBound);
}

TEST(TwoViewLosses, ByolCountsAngles) {
  const at::Tensor prediction = waves(3, 4, 0.0).requires_grad_(), target = waves(3, 4, 1.0).requires_grad_();
  double sum = 0.0;
  for (std::int64_t i = 0; i < 3; ++i) sum += 2 - 2 * cosine_of(prediction[i].detach(), target[i].detach());
  const at::Tensor loss = method::byol_sum(prediction, target);
  loss.backward();
  EXPECT_NEAR(loss.item<double>(), sum, kBound);
  EXPECT_FALSE(target.grad().defined());
}

// Also where eigenvalues are equal, with more outputs than images.
TEST(TwoViewLosses, GradientsOfMatrixSslAreThoseOfSmallDifferences) {
  for (const std::int64_t images : {9, 4}) {
    const at::Tensor z1 = waves(images, 5, 0.0), z2 = waves(images, 5, 0.3),
                     direction = waves(images, 5, 4.0);
    const auto loss = [&](const at::Tensor& at) { return method::matrix_ssl(at, z2, 1.0, 1e-3); };
    const at::Tensor leaf = z1.clone().requires_grad_();
    loss(leaf).backward();
    constexpr double kStep = 1e-6;
    const double slope =
        (loss(z1 + kStep * direction) - loss(z1 - kStep * direction)).item<double>() / (2 * kStep);
    EXPECT_NEAR(inner_product(leaf.grad(), direction), slope, 1e-5 * std::abs(slope) + 1e-7) << images;
  }
}

}  // namespace
}  // namespace cohort
