#include "cohort/nn/dino_head.h"

#include <string>

#include <ATen/ATen.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/linear.h>

#include "cohort/comm/autograd.h"

#include "gelu.h"
#include "linear.h"

namespace cohort::nn {
namespace {

constexpr double kBatchNormEpsilon = 1e-5, kNormEpsilon = 1e-12;

at::Tensor sum_over(const at::Tensor& values, comm::Communicator* ranks) {
  return ranks == nullptr ? values : comm::all_reduce_sum(values, *ranks);
}

// Ioffe and Szegedy, arXiv 1502.03167, over the rows [R, n] of all ranks. Two passes: the variance of what is
// left without the mean does not cancel.
at::Tensor batch_normalised(const at::Tensor& rows, const torch::nn::BatchNorm1dImpl& norm,
                            comm::Communicator* ranks) {
  const at::Tensor ones = at::ones({rows.size(0), 1}, rows.options());
  const at::Tensor sums = sum_over(at::cat({rows, ones}, 1).sum(0), ranks);  // [n + 1]
  const at::Tensor count = sums[rows.size(1)].detach();
  const at::Tensor centred = rows - sums.narrow(0, 0, rows.size(1)) / count;
  const at::Tensor variance = sum_over(at::square(centred).sum(0), ranks) / count;
  return centred * at::rsqrt(variance + kBatchNormEpsilon) * norm.weight + norm.bias;
}

at::Tensor unit_rows(const at::Tensor& rows) {
  return rows / rows.norm(2, 1, /*keepdim=*/true).clamp_min(kNormEpsilon);
}

}  // namespace

DinoHead::DinoHead(const DinoHeadShape& shape) : shape_(shape) {
  using namespace torch::nn;
  const auto mlp = register_module("mlp", std::make_shared<Module>());
  std::size_t place = 0;
  const auto add = [&](const std::shared_ptr<Module>& layer) {
    return mlp->register_module(std::to_string(place++), layer);
  };
  for (int layer = 0; layer < 3; ++layer) {
    const bool is_last = layer == 2;
    linears_.push_back(add(
        Linear(layer == 0 ? shape.width : shape.hidden, is_last ? shape.bottleneck : shape.hidden).ptr()));
    if (is_last) break;
    if (shape.batch_norm) {
      const auto options = BatchNorm1dOptions(shape.hidden).track_running_stats(false);
      norms_.push_back(add(BatchNorm1d(options).ptr()));
    }
    ++place;  // the GELU
  }
  const auto last = register_module("last_layer", std::make_shared<Module>());
  weight_v_ = last->register_parameter("weight_v", at::empty({shape.prototypes, shape.bottleneck}));
  if (!shape.norm_last_layer)
    weight_g_ = last->register_parameter("weight_g", at::ones({shape.prototypes, 1}));
}

at::Tensor DinoHead::hidden(const at::Tensor& features, comm::Communicator* ranks) {
  at::Tensor x = features;
  for (std::size_t i = 0; i < linears_.size(); ++i) {
    x = linear(*linears_[i]->as<torch::nn::Linear>(), x);
    if (i + 1 == linears_.size()) break;
    if (!norms_.empty())
      x = batch_normalised(x.to(at::promote_types(x.scalar_type(), at::kFloat)),
                           *norms_[i]->as<torch::nn::BatchNorm1d>(), ranks);
    x = exact_gelu(x);
  }
  return x;
}

at::Tensor DinoHead::forward(const at::Tensor& features, comm::Communicator* ranks) {
  const at::Tensor x = hidden(features, ranks);
  const at::ScalarType precise = at::promote_types(x.scalar_type(), at::kFloat);
  at::Tensor weight = weight_v_ / weight_v_.norm(2, 1, /*keepdim=*/true);
  if (weight_g_.defined()) weight = weight * weight_g_;
  return linear(unit_rows(x.to(precise)), weight, at::Tensor()).to(precise);
}

std::optional<Draw> DinoHead::first_values_of(const std::string& name,
                                              const torch::nn::Module& /*owner*/) const {
  if (name != "last_layer.weight_g") return std::nullopt;
  return draw::constant(1.0);
}

}  // namespace cohort::nn
