#include "method/heat_picture.h"

#include <ATen/ATen.h>

namespace cohort::method {

at::Tensor heat_picture(const at::Tensor& images, const at::Tensor& heat) {
  constexpr double kOpacity = 0.7, kLeastHeat = 1e-12;
  const at::Tensor gray = images.to(at::kCPU, at::kFloat).mean(1, /*keepdim=*/true).expand({-1, 3, -1, -1});
  const at::Tensor wide = heat.to(at::kCPU, at::kFloat);
  const at::Tensor parts = wide / wide.amax({1, 2}, /*keepdim=*/true).clamp_min(kLeastHeat);
  const at::Tensor share =
      kOpacity * at::upsample_nearest2d(parts.unsqueeze(1), {images.size(2), images.size(3)});
  const at::Tensor orange = at::tensor({2.0F, 0.0F, -1.6F}).view({1, 3, 1, 1});  // in deviations, as images
  return gray * (1 - share) + orange * share;
}

}  // namespace cohort::method
