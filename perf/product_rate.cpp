#include "product_rate.h"

#include <algorithm>
#include <chrono>

#include <ATen/ATen.h>
#include <torch/nn/modules/linear.h>

#include "device.h"
#include "nn/linear.h"

namespace cohort::perf {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kSeconds = 0.5;  // for each size

struct Size {
  std::int64_t rows, in, out;
};

double best_rate(const Size& size, const at::TensorOptions& options) {
  torch::nn::LinearImpl layer(torch::nn::LinearOptions(size.in, size.out));
  layer.to(options.device(), c10::typeMetaToScalarType(options.dtype()));
  const at::Tensor input = at::randn({size.rows, size.in}, options);
  const double flops = 2.0 * static_cast<double>(size.rows * size.in * size.out);
  double best = 0;
  const auto begin = Clock::now();
  do {
    const auto start = Clock::now();
    const at::Tensor output = nn::linear(layer, input);
    synchronise(options.device());
    best = std::max(best, flops / std::chrono::duration<double>(Clock::now() - start).count());
  } while (std::chrono::duration<double>(Clock::now() - begin).count() < kSeconds);
  return best;
}

}  // namespace

double product_rate(c10::Device device, bool bf16, comm::Communicator& ranks) {
  const at::NoGradGuard no_gradients;
  const auto options = at::TensorOptions(bf16 ? at::kBFloat16 : at::kFloat).device(device);
  const std::int64_t rows = device.is_cpu() ? 2048 : 16384;
  double best = 0;
  for (const Size& size : {Size{rows, 384, 1536}, Size{rows, 1024, 1024}, Size{rows, 1024, 4096}}) {
    ranks.barrier();
    best = std::max(best, best_rate(size, options));
  }
  return ranks.sum(best);
}

}  // namespace cohort::perf
