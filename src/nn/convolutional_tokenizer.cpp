#include "convolutional_tokenizer.h"

#include <cmath>
#include <memory>

#include <ATen/ATen.h>
#include <fmt/format.h>

namespace cohort::nn {
namespace {

constexpr std::int64_t kPool = 3, kPoolPadding = 1, kPoolStride = 2;

std::int64_t places(std::int64_t size, std::int64_t kernel, std::int64_t stride, std::int64_t padding) {
  return (size + 2 * padding - kernel) / stride + 1;
}

std::int64_t pool_stride(const TokenizerShape& shape, std::int64_t convolution) {
  return convolution + 1 == shape.convolutions ? shape.last_pool : kPoolStride;
}

std::int64_t side_of(const TokenizerShape& shape, std::int64_t size) {
  for (std::int64_t i = 0; i < shape.convolutions; ++i) {
    size = places(size, shape.kernel, shape.stride, shape.padding);
    if (shape.pools) size = places(size, kPool, pool_stride(shape, i), kPoolPadding);
  }
  return size;
}

torch::nn::Conv2d tokenizing_convolution(const TokenizerShape& shape, std::int64_t number) {
  const std::int64_t in = number == 0 ? shape.channels : shape.planes,
                     out = number + 1 == shape.convolutions ? shape.width : shape.planes;
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, shape.kernel)
                               .stride(shape.stride)
                               .padding(shape.padding)
                               .bias(!shape.pools));
}

/// The square that `rows` are; nothing when they are none.
std::optional<PatchGrid> square_of(std::int64_t rows) {
  const auto side = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(rows))));
  return side * side == rows ? std::optional(PatchGrid{side, side}) : std::nullopt;
}

std::string interpolation_text(PatchGrid from, PatchGrid to) {
  return fmt::format("{} x {} patches -> {} x {}, bicubic", from.rows, from.columns, to.rows, to.columns);
}

/// Of a table of `rows`; nothing when it cannot be told.
std::optional<PatchGrid> stored_grid(std::int64_t rows, const TokenizerShape& shape, PatchGrid own,
                                     NamesOfBoth names) {
  if (!names.are_known()) return rows == own.count() ? std::optional(own) : square_of(rows);
  const PatchGrid grid = grid_of(shape, names.from->height, names.from->width);
  return grid.count() == rows ? std::optional(grid) : std::nullopt;
}

}  // namespace

std::int64_t stride_of(const TokenizerShape& shape) noexcept {
  std::int64_t stride = 1;
  for (std::int64_t i = 0; i < shape.convolutions; ++i)
    stride *= shape.stride * (shape.pools ? pool_stride(shape, i) : 1);
  return stride;
}

PatchGrid grid_of(const TokenizerShape& shape, std::int64_t height, std::int64_t width) noexcept {
  return {side_of(shape, height), side_of(shape, width)};
}

ConvolutionalTokenizer::ConvolutionalTokenizer(const TokenizerShape& shape) : shape_(shape) {
  const auto layers = register_module("conv_layers", std::make_shared<torch::nn::Module>());
  for (std::int64_t i = 0; i < shape.convolutions; ++i) {
    const auto layer = layers->register_module(std::to_string(i), std::make_shared<torch::nn::Module>());
    convolutions_.push_back(layer->register_module("0", tokenizing_convolution(shape, i)));
  }
}

at::Tensor ConvolutionalTokenizer::forward(const at::Tensor& images) {
  at::Tensor x = images;
  for (std::int64_t i = 0; i < shape_.convolutions; ++i) {
    x = convolutions_[static_cast<std::size_t>(i)](x);
    if (shape_.pools) x = at::max_pool2d(at::relu(x), kPool, pool_stride(shape_, i), kPoolPadding);
  }
  return x;
}

std::optional<Draw> ConvolutionalTokenizer::first_values_of(const std::string& name,
                                                            const torch::nn::Module& owner) const {
  if (!name.ends_with(".weight")) return std::nullopt;
  const auto& weight = dynamic_cast<const torch::nn::Conv2dImpl&>(owner).weight;  // [out, in, P, Q]
  return draw::normal(std::sqrt(2.0 / static_cast<double>(weight.size(1) * weight.size(2) * weight.size(3))));
}

std::optional<Adapted> positions_of_grid(const at::Tensor& stored, std::int64_t prefix,
                                         const TokenizerShape& shape, PatchGrid own, NamesOfBoth names) {
  const auto from = stored_grid(stored.size(1) - prefix, shape, own, names);
  if (!from) return std::nullopt;
  if (*from == own) return Adapted{stored};
  return Adapted{
      interpolate_positions(stored.to(at::kFloat), prefix, *from, own, PositionInterpolation::plain),
      interpolation_text(*from, own)};
}

at::Tensor tokens_of(const at::Tensor& map) {
  return map.flatten(2).transpose(1, 2).contiguous();
}

}  // namespace cohort::nn
