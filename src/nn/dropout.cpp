#include "cohort/nn/dropout.h"

#include <ATen/ATen.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

#include "nn/keyed_uniform.h"

namespace cohort::nn {
namespace {

bool is_off(double rate, const Conditions& conditions) {
  return !conditions.training || rate == 0.0;
}

}  // namespace

at::Tensor dropout(const at::Tensor& values, double rate, const Conditions& conditions, std::uint32_t layer) {
  if (is_off(rate, conditions)) return values;
  const at::Tensor uniform =
      keyed_uniform(values.numel() / values.size(0), Purpose::dropout, conditions, layer, values.device());
  COHORT_CHECK(uniform.size(0) == values.size(0), "{} samples for {} images", uniform.size(0),
               values.size(0));
  return values / (1.0 - rate) * uniform.ge(rate).view(values.sizes());
}

at::Tensor channel_dropout(const at::Tensor& images, double rate, const Conditions& conditions) {
  if (is_off(rate, conditions)) return images;
  const at::Tensor uniform =
      keyed_uniform(images.size(1), Purpose::channel_drop, conditions, /*layer=*/0, images.device());
  return images / (1.0 - rate) * uniform.ge(rate).view({images.size(0), images.size(1), 1, 1});
}

at::Tensor drop_path(const at::Tensor& branch, double rate, const Conditions& conditions,
                     std::uint32_t layer) {
  if (is_off(rate, conditions)) return branch;
  return drop_branch(branch, rate,
                     keyed_uniform(1, Purpose::drop_path, conditions, layer, branch.device()).flatten());
}

at::Tensor drop_branch(const at::Tensor& branch, double rate, const at::Tensor& uniform) {
  COHORT_CHECK(uniform.numel() == branch.size(0), "{} numbers for {} images", uniform.numel(),
               branch.size(0));
  const double keep = 1.0 - rate;
  std::vector<std::int64_t> shape(static_cast<std::size_t>(branch.dim()), 1);
  shape[0] = branch.size(0);
  const at::Tensor kept = uniform.add(keep).floor_().view(shape);
  return branch / keep * kept.to(branch.device(), branch.scalar_type());
}

}  // namespace cohort::nn
