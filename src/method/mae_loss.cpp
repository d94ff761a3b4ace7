#include "cohort/method/mae_loss.h"

#include <ATen/ATen.h>

#include "cohort/nn/masked_autoencoder.h"

namespace cohort::method {
namespace {

constexpr double kVarianceFloor = 1e-6;

struct Statistics {
  at::Tensor mean, deviation;  // [B, N, 1]
};

Statistics statistics_of(const at::Tensor& patches) {
  const auto [variance, mean] = at::var_mean(patches, {-1}, /*correction=*/1, /*keepdim=*/true);
  return {mean, (variance + kVarianceFloor).sqrt()};
}

at::Tensor in_full(const at::Tensor& values) {
  return values.to(at::promote_types(values.scalar_type(), at::kFloat));
}

}  // namespace

at::Tensor reconstruction_target(const at::Tensor& images, std::int64_t patch_size, bool normalised) {
  const at::Tensor patches = nn::patches_of(images, patch_size);
  if (!normalised) return patches;
  const Statistics of = statistics_of(patches);
  return (patches - of.mean) / of.deviation;
}

at::Tensor with_statistics_of(const at::Tensor& patches, const at::Tensor& predicted) {
  const Statistics of = statistics_of(patches);
  return predicted * of.deviation + of.mean;
}

at::Tensor reconstruction_errors(const at::Tensor& predicted, const at::Tensor& target) {
  return at::square(in_full(predicted) - in_full(target)).mean(-1);
}

}  // namespace cohort::method
