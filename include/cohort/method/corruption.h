#pragma once
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/core/random.h"

namespace cohort::method {

/// Pixels of an image, inside it.
struct PixelBlock {
  std::int64_t row, column, height, width;
  [[nodiscard]] std::int64_t area() const noexcept { return height * width; }
};

/// How much of an image each operator of cSiT changes; one that is off draws nothing.
struct CorruptionOptions {
  bool grey = true, blur = true;
  double dropped = 0.3, replaced = 0.3;  ///< most of the image's area, as drawn; 0: off
};

/// What is done to one image, in this order; a block of no area does nothing.
struct Corruption {
  PixelBlock grey{};  ///< its channels become their mean
  PixelBlock blur{};  ///< blurred alone, with a Gaussian of `kernel` pixels, reflected at its own borders
  std::int64_t kernel = 1;
  double deviation = 1.0;
  std::vector<PixelBlock> dropped;   ///< filled with noise
  std::vector<float> noise;          ///< standard normal, block after block, [C, height, width] each
  std::vector<PixelBlock> replaced;  ///< filled with the same pixels of another image
  std::uint64_t donor = 0;           ///< which, of those that were counted when it was drawn
};

/// The draws of cSiT (published code): corners uniform in [0, H - t), sides in [t, H), t = ⌊H / 20⌋, one
/// pixel at least, cut at the border; the same of widths. Kernels are 2 ⌊k / 2⌋ + 1 of k in 3 … 15, smaller
/// where half of one would not fit into its block (the published code fails there), deviations in [0.1, 5.1).
/// Noise and donors fill blocks with sides in [t, ⌊H / 4⌋) while the sum of their areas, cut and with what
/// they share counted twice, is below a part of the image in [0, options). `donors`: images to choose from,
/// at least one. Nothing but `stream` decides.
Corruption draw_corruption(const CorruptionOptions& options, std::int64_t channels, std::int64_t height,
                           std::int64_t width, std::uint64_t donors, RandomStream stream);

/// An image [C, H, W] f32 with all of it done; `donor` [C, H, W], a clean one, is what replaces. New memory.
at::Tensor corrupted(const at::Tensor& image, const Corruption& corruption, const at::Tensor& donor);

/// The steps of corrupted(), in place on `image`.
void grey_block(at::Tensor& image, const PixelBlock& block);
void blur_block(at::Tensor& image, const PixelBlock& block, std::int64_t kernel, double deviation);
void drop_blocks(at::Tensor& image, const std::vector<PixelBlock>& blocks, const std::vector<float>& noise);
void replace_blocks(at::Tensor& image, const std::vector<PixelBlock>& blocks, const at::Tensor& donor);

/// Images [..., H, W] turned by cSiT's labels: 0: as they are, 1: by a quarter clockwise, 2: by a half, 3: by
/// a quarter the other way.
at::Tensor turned(const at::Tensor& images, std::int64_t label);

/// Several losses by learned weights (cSiT, after Kendall et al., arXiv 1705.07115): sum over tasks of exp(-a
/// s) L + s / 2; `losses`, `scales` s [tasks], `factors` a of each: 1 for cross-entropies, 0.5 for mean
/// absolute errors. Scalar, differentiable in both.
at::Tensor weighted_tasks(const at::Tensor& losses, const at::Tensor& scales,
                          const std::vector<double>& factors);

}  // namespace cohort::method
