#include "cohort/eval/feature_statistics.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cohort/core/error.h"

namespace cohort::eval {
namespace {

constexpr std::int64_t kRows = 8192;  // in fp64 at once

double effective_rank_of(const at::Tensor& squares) {
  const at::Tensor singular = at::linalg_eigvalsh(squares).clamp_min(0).sqrt();
  const double total = singular.sum().item<double>();
  if (total <= 0) return 0.0;
  return std::exp(-at::special_xlogy(singular / total, singular / total).sum().item<double>());
}

}  // namespace

FeatureStatistics feature_statistics(const at::Tensor& features) {
  COHORT_CHECK(features.dim() == 2 && features.size(0) > 0, "statistics of features {}",
               fmt::format("[{}]", fmt::join(features.sizes(), ", ")));
  const at::NoGradGuard no_gradients;
  const std::int64_t images = features.size(0), width = features.size(1);
  at::Tensor squares = at::zeros({width, width}, at::kDouble), sum = at::zeros({width}, at::kDouble),
             square_sum = at::zeros({width}, at::kDouble);
  for (std::int64_t begin = 0; begin < images; begin += kRows) {
    const at::Tensor rows = features.narrow(0, begin, std::min(kRows, images - begin)).to(at::kDouble);
    squares.addmm_(rows.t(), rows);
    const at::Tensor unit = rows / rows.norm(2, 1, true).clamp_min(1e-12);
    sum.add_(unit.sum(0));
    square_sum.add_(unit.square().sum(0));
  }
  const auto count = static_cast<double>(images);
  const at::Tensor variance = (square_sum / count - (sum / count).square()).clamp_min(0);
  return {variance.sqrt().mean().item<double>(), effective_rank_of(squares)};
}

}  // namespace cohort::eval
