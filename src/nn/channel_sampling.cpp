#include "cohort/nn/channel_sampling.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "cohort/core/random.h"

namespace cohort::nn {

std::vector<std::int64_t> sample_channels(std::int64_t channels, std::uint64_t seed, std::int64_t step) {
  RandomStream stream({.seed = seed, .purpose = Purpose::channel_sampling, .time = step});
  const std::uint64_t count = 1 + stream.below(static_cast<std::uint64_t>(channels));
  std::vector<std::int64_t> kept = permutation(channels, stream);
  kept.resize(count);
  std::sort(kept.begin(), kept.end());
  return kept;
}

at::Tensor keep_channels(const at::Tensor& images, const at::Tensor& kept) {
  const double scale = static_cast<double>(images.size(1)) / static_cast<double>(kept.numel());
  const at::Tensor factor =
      at::zeros({images.size(1)}, images.options().requires_grad(false)).index_fill_(0, kept, scale);
  return images * factor.view({1, -1, 1, 1});
}

}  // namespace cohort::nn
