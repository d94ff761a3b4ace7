#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

#include "cohort/nn/conditions.h"

namespace cohort::nn {

/// Dropout (Srivastava et al., JMLR 2014): y = x / (1 - rate) * (u >= rate), u in [0, 1) for every value.
/// `values` [B, …]. u of image i is keyed by (seed, Purpose::dropout, step, sample i, layer): the same on any
/// number of ranks and in any batch. `layer` tells the places of one model apart. Returns `values` unless
/// conditions.training and rate > 0.
at::Tensor dropout(const at::Tensor& values, double rate, const Conditions& conditions, std::uint32_t layer);

/// Dropout of whole channels (Tompson et al., arXiv 1411.4280): of images [B, C, h, w] each channel is set to
/// zero with probability `rate`, the others are divided by 1 - rate. Keyed by (seed, Purpose::channel_drop,
/// step, sample i). Returns `images` unless conditions.training and rate > 0.
at::Tensor channel_dropout(const at::Tensor& images, double rate, const Conditions& conditions);

/// Stochastic depth (Huang et al., arXiv 1603.09382) of a residual branch: as drop_branch() below, u of image
/// i keyed by (seed, Purpose::drop_path, step, sample i, layer). Returns `branch` [B, …] unless
/// conditions.training and rate > 0.
at::Tensor drop_path(const at::Tensor& branch, double rate, const Conditions& conditions,
                     std::uint32_t layer);

/// y = x / keep * floor(keep + u), keep = 1 - rate, one u for each image. `uniform` [B] in [0, 1), f32, of
/// any device.
at::Tensor drop_branch(const at::Tensor& branch, double rate, const at::Tensor& uniform);

}  // namespace cohort::nn
