#include "cohort/method/fourier_loss.h"

#include <cmath>

#include <ATen/ATen.h>

#include "cohort/core/error.h"
#include "cohort/nn/masked_autoencoder.h"

namespace cohort::method {
namespace {

std::int64_t side_of_square(std::int64_t patches) {
  return std::llround(std::sqrt(static_cast<double>(patches)));
}

/// Half precision has no transform.
at::Tensor for_transform(const at::Tensor& values) {
  return values.to(at::promote_types(values.scalar_type(), at::kFloat));
}

at::Tensor amplitudes(const at::Tensor& values, at::IntArrayRef rows_and_columns) {
  return at::fft_fft2(values, {}, rows_and_columns).abs();
}

at::Tensor transformed(const at::Tensor& tokens, Fourier of, nn::PatchGrid grid, std::int64_t patch_size) {
  const std::int64_t images = tokens.size(0), patches = tokens.size(1), values = tokens.size(2);
  if (of == Fourier::image) return amplitudes(nn::images_of(tokens, grid, patch_size), {2, 3});
  if (of == Fourier::patch)
    return amplitudes(tokens.view({images, patches, patch_size, patch_size, -1}), {2, 3});
  const std::int64_t side = side_of_square(patches);
  return amplitudes(tokens.reshape({images, values, side, side}), {2, 3});
}

}  // namespace

bool is_square(std::int64_t patches) {
  const std::int64_t side = side_of_square(patches);
  return side * side == patches;
}

at::Tensor fourier_errors(const at::Tensor& predicted, const at::Tensor& target, Fourier of,
                          nn::PatchGrid grid, std::int64_t patch_size) {
  COHORT_CHECK(of != Fourier::reference || is_square(predicted.size(1)), "{} patches in a square",
               predicted.size(1));
  const at::Tensor differences = (transformed(for_transform(predicted), of, grid, patch_size) -
                                  transformed(for_transform(target), of, grid, patch_size))
                                     .abs();
  if (of == Fourier::image) return differences.mean({1, 2, 3}).unsqueeze(1).expand({-1, predicted.size(1)});
  return differences.reshape(predicted.sizes()).mean(-1);
}

}  // namespace cohort::method
