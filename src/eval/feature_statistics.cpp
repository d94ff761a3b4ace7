#include "cohort/eval/feature_statistics.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "cohort/core/error.h"

#include "eval/unit_rows.h"

namespace cohort::eval {
namespace {

constexpr std::int64_t kRowsAtOnce = 8192;  // in fp64 at once

double effective_rank_of(const at::Tensor& squares) {
  const at::Tensor singular = at::linalg_eigvalsh(squares).clamp_min(0).sqrt();
  const double total = singular.sum().item<double>();
  if (total <= 0) return 0.0;
  return std::exp(-at::special_xlogy(singular / total, singular / total).sum().item<double>());
}

}  // namespace

FeatureStatistics feature_statistics(std::int64_t images, const FeaturesOf& features) {
  COHORT_CHECK(images > 0, "statistics of the features of {} images", images);
  const at::NoGradGuard no_gradients;
  at::Tensor squares, sum, square_sum;
  for (std::int64_t begin = 0; begin < images; begin += kRowsAtOnce) {
    const at::Tensor rows = features(begin, std::min(kRowsAtOnce, images - begin)).to(at::kDouble);
    if (begin == 0) {
      squares = at::zeros({rows.size(1), rows.size(1)}, at::kDouble);
      sum = at::zeros({rows.size(1)}, at::kDouble);
      square_sum = at::zeros_like(sum);
    }
    squares.addmm_(rows.t(), rows);
    const at::Tensor unit = unit_rows(rows);
    sum.add_(unit.sum(0));
    square_sum.add_(unit.square().sum(0));
  }
  const auto count = static_cast<double>(images);
  const at::Tensor variance = (square_sum / count - (sum / count).square()).clamp_min(0);
  return {variance.sqrt().mean().item<double>(), effective_rank_of(squares)};
}

}  // namespace cohort::eval
