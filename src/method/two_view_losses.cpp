#include "cohort/method/two_view_losses.h"

#include <cmath>
#include <limits>

#include <ATen/ATen.h>

#include "cohort/core/error.h"
#include "cohort/method/matrix_information.h"

namespace cohort::method {
namespace {

constexpr double kLeastLength = 1e-12, kVarianceEpsilon = 1e-5;

at::Tensor identity_like(const at::Tensor& matrix) {
  return at::eye(matrix.size(0), matrix.options());
}

/// Cosines of the rows of both views with each other, and which row each belongs to.
struct Contrast {
  at::Tensor cosines;  // [2 b, 2 b], a row's own -infinity
  at::Tensor other;    // [2 b] i64
};

Contrast contrast(const at::Tensor& z1, const at::Tensor& z2) {
  const std::int64_t images = z1.size(0);
  const at::Tensor rows = unit_rows(at::cat({z1, z2}));
  const at::Tensor self = at::eye(2 * images, at::TensorOptions(at::kBool).device(rows.device()));
  return {at::mm(rows, rows.t()).masked_fill(self, -std::numeric_limits<double>::infinity()),
          at::arange(2 * images, at::TensorOptions(at::kLong).device(rows.device())).roll({images})};
}

at::Tensor standardised(const at::Tensor& rows) {
  const at::Tensor centred = rows - rows.mean(0);
  return centred / at::sqrt(at::square(centred).mean(0) + kVarianceEpsilon);
}

// Rows at most sqrt(mu) long.
at::Tensor clipped_rows(const at::Tensor& rows, double mu) {
  const at::Tensor length = rows.norm(2, 1, /*keepdim=*/true);
  return at::where(length < std::sqrt(mu), rows, rows / length.clamp_min(kLeastLength) * std::sqrt(mu));
}

at::Tensor trace_of_product(const at::Tensor& a, const at::Tensor& b) {
  return (a * b.t()).sum();
}

// sum_{k = 1 … order} (-1)^(k + 1) (M - I)^k / k
at::Tensor log_series(const at::Tensor& matrix, std::int64_t order) {
  const at::Tensor difference = matrix - identity_like(matrix);
  at::Tensor power = difference, sum = difference;
  for (std::int64_t k = 2; k <= order; ++k) {
    power = at::mm(power, difference);
    sum = sum + power * ((k % 2 == 0 ? -1.0 : 1.0) / static_cast<double>(k));
  }
  return sum;
}

at::Tensor crossed(const at::Tensor& p, const at::Tensor& z, const MatrixSslReference& options) {
  const auto shifted = [&](const at::Tensor& matrix) { return matrix + options.mu * identity_like(matrix); };
  const at::Tensor alignment = log_series(shifted(covariance_of_views(p, z)), options.order).trace();
  const at::Tensor entropy = trace_of_product(shifted(covariance_of_views(p, p)),
                                              log_series(shifted(covariance_of_views(z, z)), options.order));
  return -options.lambda * alignment - options.gamma * entropy;
}

}  // namespace

at::Tensor nt_xent(const at::Tensor& z1, const at::Tensor& z2, double temperature, std::int64_t parts) {
  COHORT_CHECK(z1.sizes() == z2.sizes() && parts > 0 && z1.size(0) % parts == 0,
               "{} rows and {} rows in {} parts", z1.size(0), z2.size(0), parts);
  const std::vector<at::Tensor> first = z1.chunk(parts), second = z2.chunk(parts);
  std::vector<at::Tensor> losses;
  for (std::size_t part = 0; part < first.size(); ++part) {
    const auto [cosines, other] = contrast(first[part], second[part]);
    losses.push_back(at::cross_entropy_loss(cosines / temperature, other));
  }
  return at::stack(losses).mean();
}

double other_view_found(const at::Tensor& z1, const at::Tensor& z2) {
  const auto [cosines, other] = contrast(z1, z2);
  return cosines.argmax(1).eq(other).sum().item<double>();
}

at::Tensor barlow_twins(const at::Tensor& z1, const at::Tensor& z2, double lambda) {
  const at::Tensor correlation =
      at::mm(standardised(z1).t(), standardised(z2)) / static_cast<double>(z1.size(0));
  const at::Tensor diagonal = correlation.diagonal();
  const at::Tensor others = at::square(correlation).sum() - at::square(diagonal).sum();
  return at::square(1 - diagonal).sum() + lambda * others;
}

at::Tensor spectral_contrastive(const at::Tensor& z1, const at::Tensor& z2, double mu) {
  const auto images = static_cast<double>(z1.size(0));
  const at::Tensor products = at::mm(clipped_rows(z1, mu), clipped_rows(z2, mu).t());  // [B, B]
  const at::Tensor own = products.diagonal();
  const at::Tensor others = at::square(products).sum() - at::square(own).sum();
  return (others / (images * (images - 1)) - 2 * own.mean()) / mu;
}

at::Tensor covariance_of_views(const at::Tensor& z1, const at::Tensor& z2) {
  const at::Tensor rows = unit_rows(z2);
  return at::mm(unit_rows(z1).t(), rows - rows.mean(0)) / static_cast<double>(z1.size(0));
}

at::Tensor matrix_ssl(const at::Tensor& z1, const at::Tensor& z2, double gamma, double epsilon) {
  const at::Tensor wide1 = z1.to(at::kDouble), wide2 = z2.to(at::kDouble);
  const at::Tensor between = covariance_of_views(wide1, wide2);
  const at::Tensor uniform = identity_like(between) / static_cast<double>(between.size(0));
  const at::Tensor uniformity = matrix_kl(uniform, (between + between.t()) / 2, epsilon);
  const at::Tensor entropy =
      matrix_cross_entropy(covariance_of_views(wide1, wide1), covariance_of_views(wide2, wide2), epsilon);
  return (uniformity - between.trace() + gamma * entropy).to(z1.scalar_type());
}

at::Tensor matrix_ssl_reference(const at::Tensor& z1, const at::Tensor& z2, const at::Tensor& p1,
                                const at::Tensor& p2, const MatrixSslReference& options) {
  return (crossed(p2, z1, options) + crossed(p1, z2, options)) / 2;
}

at::Tensor byol_sum(const at::Tensor& prediction, const at::Tensor& target) {
  return (2 - 2 * (unit_rows(prediction) * unit_rows(target.detach())).sum(1)).sum();
}

at::Tensor simsiam_sum(const at::Tensor& prediction, const at::Tensor& target) {
  return -(unit_rows(prediction) * unit_rows(target.detach())).sum();
}

}  // namespace cohort::method
