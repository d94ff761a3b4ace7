#include "cohort/nn/masking.h"

#include <ATen/ATen.h>

#include "nn/keyed_uniform.h"

namespace cohort::nn {

std::int64_t kept_patches(std::int64_t patches, double ratio) noexcept {
  return static_cast<std::int64_t>(static_cast<double>(patches) * (1.0 - ratio));
}

Masking random_masking(const at::Tensor& uniforms, double ratio) {
  const std::int64_t patches = uniforms.size(1), kept = kept_patches(patches, ratio);
  const at::Tensor order = at::argsort(uniforms, /*stable=*/true, /*dim=*/1, /*descending=*/false);
  const at::Tensor restore = at::argsort(order, /*stable=*/true, /*dim=*/1, /*descending=*/false);
  return {order.narrow(1, 0, kept).contiguous(), restore, restore.ge(kept).to(at::kFloat)};
}

at::Tensor masking_uniforms(std::int64_t patches, const Conditions& conditions, std::uint32_t copy,
                            at::Device device) {
  return keyed_uniform(patches, Purpose::masking, conditions, copy, device);
}

}  // namespace cohort::nn
