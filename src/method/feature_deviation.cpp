#include "cohort/method/feature_deviation.h"

#include <tuple>

#include <ATen/ATen.h>

namespace cohort::method {

void add_feature_deviation(Metrics& metrics, const at::Tensor& features, const at::Tensor& group) {
  const at::NoGradGuard no_grad;
  const at::Tensor wide = features.to(at::kFloat);
  const at::Tensor rows = wide / wide.norm(2, 1, true).clamp_min(1e-12);
  const auto [numbers, place] = at::_unique(group, /*sorted=*/true, /*return_inverse=*/true);
  const at::Tensor zeros = at::zeros({numbers.size(0), rows.size(1)}, rows.options());
  const at::Tensor counts = at::bincount(place).unsqueeze(1);
  const at::Tensor mean = zeros.index_add(0, place, rows) / counts;
  const at::Tensor variance =
      zeros.index_add(0, place, at::square(rows - mean.index_select(0, place))) / counts;
  metrics.add("feature_std", variance.sqrt().mean(1).sum().item<double>(), numbers.size(0));
}

}  // namespace cohort::method
