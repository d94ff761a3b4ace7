#pragma once
#include <array>
#include <cstdint>
#include <span>

#include <ATen/core/Tensor.h>

#include "cohort/config/field.h"
#include "cohort/nn/position.h"

namespace cohort::method {

/// Of what a masked autoencoder's loss compares amplitudes (Kraus et al., arXiv 2404.10242).
enum class Fourier {
  patch,      ///< each patch and channel, as the paper describes
  reference,  ///< the tokens' memory seen as P² C maps of √N x √N values, as the published code has it
  image,      ///< the whole image, patches that were not removed too
};
inline std::span<const config::EnumName<Fourier>> enum_names(Fourier) {
  static constexpr std::array<config::EnumName<Fourier>, 3> names{
      {{Fourier::patch, "patch"}, {Fourier::reference, "reference"}, {Fourier::image, "image"}}};
  return names;
}

/// [B, N] f32, or f64 of f64: mean absolute difference between the amplitudes of the two-dimensional Fourier
/// transforms, without normalisation, of `predicted` and `target` [B, N, P² C], patches of a `grid` of N. The
/// loss is their mean over the patches that were removed. Of `image` every patch has the value of the whole
/// image. `reference` needs a square number of patches. Differentiable; of an amplitude 0 the gradient is 0.
at::Tensor fourier_errors(const at::Tensor& predicted, const at::Tensor& target, Fourier of,
                          nn::PatchGrid grid, std::int64_t patch_size);

/// Whether `patches` are a square number.
bool is_square(std::int64_t patches);

}  // namespace cohort::method
