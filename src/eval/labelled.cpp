#include "eval/labelled.h"

#include <vector>

#include <ATen/ATen.h>

namespace cohort::eval {

Labelled labelled(const at::Tensor& features, std::span<const std::int32_t> labels) {
  std::vector<std::int64_t> rows, values;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0) continue;
    rows.push_back(static_cast<std::int64_t>(i));
    values.push_back(labels[i]);
  }
  const at::Tensor places = at::tensor(rows, at::kLong);
  return {features.index_select(0, places), at::tensor(values, at::kLong), places};
}

}  // namespace cohort::eval
