#pragma once
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace cohort::nn {

/// Hierarchical channel sampling (arXiv 2309.16108, section 3.2): m uniform in 1 … channels, then m of them,
/// every subset of m equally likely; ascending. Keyed by (seed, Purpose::channel_sampling, step): the same on
/// every rank.
std::vector<std::int64_t> sample_channels(std::int64_t channels, std::uint64_t seed, std::int64_t step);

/// `images` [B, C, h, w] with all channels but `kept` [m] i64 set to zero and those multiplied by C / m: what
/// a model with one token for all channels sees of a subset.
at::Tensor keep_channels(const at::Tensor& images, const at::Tensor& kept);

}  // namespace cohort::nn
