#include "cohort/method/corruption.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "cohort/core/error.h"

namespace cohort::method {
namespace {

constexpr std::int64_t kLeastSide = 20, kShortSide = 4;  // parts of the image's side
constexpr std::int64_t kLeastKernel = 3, kKernels = 13;
constexpr double kLeastDeviation = 0.1, kMostDeviation = 5.1;

/// Pixels along one side.
struct Run {
  std::int64_t first, length;
};

std::int64_t integer_in(RandomStream& stream, std::int64_t low, std::int64_t high) {
  const std::int64_t count = std::max<std::int64_t>(high - low, 1);
  return low + static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(count)));
}

Run draw_run(RandomStream& stream, std::int64_t side, std::int64_t longest) {
  const std::int64_t least = side / kLeastSide, first = integer_in(stream, 0, side - least);
  const std::int64_t length = std::max<std::int64_t>(integer_in(stream, least, longest), 1);
  return {first, std::min(length, side - first)};
}

PixelBlock draw_block(RandomStream& stream, std::int64_t height, std::int64_t width, std::int64_t part) {
  const Run rows = draw_run(stream, height, height / part), columns = draw_run(stream, width, width / part);
  return {rows.first, columns.first, rows.length, columns.length};
}

std::vector<PixelBlock> draw_blocks(RandomStream& stream, std::int64_t height, std::int64_t width,
                                    double most) {
  std::vector<PixelBlock> blocks;
  if (most <= 0.0) return blocks;
  const double limit = stream.uniform(0.0, most) * static_cast<double>(height * width);
  for (double covered = 0.0; covered < limit; covered += static_cast<double>(blocks.back().area()))
    blocks.push_back(draw_block(stream, height, width, kShortSide));
  return blocks;
}

std::int64_t draw_kernel(RandomStream& stream, const PixelBlock& block) {
  const std::int64_t half = integer_in(stream, kLeastKernel, kLeastKernel + kKernels) / 2;
  return 2 * std::min({half, block.height - 1, block.width - 1}) + 1;
}

std::vector<float> draw_noise(RandomStream& stream, const std::vector<PixelBlock>& blocks,
                              std::int64_t channels) {
  std::int64_t count = 0;
  for (const PixelBlock& block : blocks) count += channels * block.area();
  std::vector<float> noise(static_cast<std::size_t>(count));
  for (float& value : noise) value = static_cast<float>(stream.normal());
  return noise;
}

at::Tensor pixels_of(const at::Tensor& image, const PixelBlock& block) {
  return image.narrow(1, block.row, block.height).narrow(2, block.column, block.width);
}

at::Tensor gaussian(std::int64_t kernel, double deviation) {
  const at::Tensor places = at::arange(kernel, at::kDouble) - static_cast<double>(kernel / 2);
  const at::Tensor values = at::exp(-at::square(places) / (2.0 * deviation * deviation));
  return (values / values.sum()).to(at::kFloat);
}

}  // namespace

Corruption draw_corruption(const CorruptionOptions& options, std::int64_t channels, std::int64_t height,
                           std::int64_t width, std::uint64_t donors, RandomStream stream) {
  Corruption drawn;
  if (options.grey) drawn.grey = draw_block(stream, height, width, 1);
  if (options.blur) {
    drawn.blur = draw_block(stream, height, width, 1);
    drawn.kernel = draw_kernel(stream, drawn.blur);
    drawn.deviation = stream.uniform(kLeastDeviation, kMostDeviation);
  }
  drawn.dropped = draw_blocks(stream, height, width, options.dropped);
  drawn.noise = draw_noise(stream, drawn.dropped, channels);
  drawn.replaced = draw_blocks(stream, height, width, options.replaced);
  drawn.donor = stream.below(donors);
  return drawn;
}

at::Tensor corrupted(const at::Tensor& image, const Corruption& corruption, const at::Tensor& donor) {
  at::Tensor changed = image.clone();
  grey_block(changed, corruption.grey);
  blur_block(changed, corruption.blur, corruption.kernel, corruption.deviation);
  drop_blocks(changed, corruption.dropped, corruption.noise);
  replace_blocks(changed, corruption.replaced, donor);
  return changed;
}

void grey_block(at::Tensor& image, const PixelBlock& block) {
  if (block.area() == 0) return;
  at::Tensor pixels = pixels_of(image, block);
  pixels.copy_(pixels.mean(0, /*keepdim=*/true).expand_as(pixels));
}

void blur_block(at::Tensor& image, const PixelBlock& block, std::int64_t kernel, double deviation) {
  if (block.area() == 0) return;
  const std::int64_t half = kernel / 2;
  at::Tensor pixels = pixels_of(image, block);
  const at::Tensor around = at::reflection_pad2d(pixels.contiguous(), {half, half, half, half});
  const at::Tensor weights = gaussian(kernel, deviation);
  const at::Tensor down = at::conv2d(around.unsqueeze(1), weights.view({1, 1, kernel, 1}));
  pixels.copy_(at::conv2d(down, weights.view({1, 1, 1, kernel})).squeeze(1));
}

void drop_blocks(at::Tensor& image, const std::vector<PixelBlock>& blocks, const std::vector<float>& noise) {
  const at::Tensor all = at::tensor(noise, at::kFloat);
  std::int64_t used = 0;
  for (const PixelBlock& block : blocks) {
    const std::int64_t count = image.size(0) * block.area();
    COHORT_CHECK(used + count <= all.numel(), "{} numbers of noise for blocks of more", all.numel());
    pixels_of(image, block)
        .copy_(all.narrow(0, used, count).view({image.size(0), block.height, block.width}));
    used += count;
  }
}

void replace_blocks(at::Tensor& image, const std::vector<PixelBlock>& blocks, const at::Tensor& donor) {
  for (const PixelBlock& block : blocks) pixels_of(image, block).copy_(pixels_of(donor, block));
}

at::Tensor turned(const at::Tensor& images, std::int64_t label) {
  return at::rot90(images, -label, {images.dim() - 2, images.dim() - 1});
}

at::Tensor weighted_tasks(const at::Tensor& losses, const at::Tensor& scales,
                          const std::vector<double>& factors) {
  const at::Tensor of_task = at::tensor(factors, scales.options());
  return (at::exp(-of_task * scales) * losses + scales / 2.0).sum();
}

}  // namespace cohort::method
