#include "cohort/nn/dense_head.h"

#include <ATen/ATen.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/nn/modules/conv.h>

namespace cohort::nn {
namespace {

/// [from, to]: column j is what linear interpolation makes place j of.
at::Tensor interpolation(std::int64_t from, std::int64_t to, const at::TensorOptions& options) {
  return at::upsample_linear1d(at::eye(from, options).unsqueeze(0), {to}, /*align_corners=*/false)[0];
}

}  // namespace

at::Tensor run_plainly(std::size_t /*block*/, const Tensors& inputs, const BlockBody& body) {
  return body(inputs);
}

LinearDenseHead::LinearDenseHead(std::int64_t width, std::int64_t outputs)
    : classifier_(register_module("classifier",
                                  torch::nn::Conv2d(torch::nn::Conv2dOptions(width, outputs, 1)).ptr())) {}

at::Tensor LinearDenseHead::forward(const DenseInput& input, const Conditions& /*conditions*/,
                                    const BlockRunner& /*run*/) {
  return convolve(classifier_, input.features.maps.back().values);
}

// As products: LibTorch's own backward pass adds up in any order on CUDA.
at::Tensor resized(const at::Tensor& values, std::int64_t height, std::int64_t width) {
  if (values.size(2) == height && values.size(3) == width) return values;
  const c10::impl::ExcludeDispatchKeyGuard in_full(c10::autocast_dispatch_keyset);
  const auto options = at::TensorOptions(values.scalar_type()).device(values.device());
  const at::Tensor rows = interpolation(values.size(2), height, options),
                   columns = interpolation(values.size(3), width, options);
  return at::matmul(at::matmul(rows.t(), values), columns);
}

at::Tensor convolve(const std::shared_ptr<torch::nn::Module>& convolution, const at::Tensor& values) {
  return convolution->as<torch::nn::Conv2d>()->forward(values);
}

}  // namespace cohort::nn
