#include "cohort/nn/image_groups.h"

#include <tuple>

#include <ATen/ATen.h>

namespace cohort::nn {
namespace {

at::Tensor picked(const at::Tensor& values, const at::Tensor& order) {
  return order.defined() && values.defined() ? values.index_select(0, order) : values;
}

}  // namespace

ImageGroups::ImageGroups(const Conditions& conditions) {
  if (!conditions.training || !conditions.group.defined()) return;
  const at::Tensor group = conditions.group.to(at::kCPU);
  const auto [sorted, order] = at::sort(group, /*stable=*/true, /*dim=*/0, /*descending=*/false);
  if (!at::equal(sorted, group)) {
    order_ = order.to(conditions.group.device());
    back_ = at::argsort(order).to(conditions.group.device());
  }
  const at::Tensor counts = std::get<2>(at::unique_consecutive(sorted, false, /*return_counts=*/true));
  sizes_.assign(counts.const_data_ptr<std::int64_t>(),
                counts.const_data_ptr<std::int64_t>() + counts.numel());
}

at::Tensor ImageGroups::gathered(const at::Tensor& values) const {
  return picked(values, order_);
}

at::Tensor ImageGroups::scattered(const at::Tensor& values) const {
  return picked(values, back_);
}

}  // namespace cohort::nn
