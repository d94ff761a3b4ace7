#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

namespace cohort::method {

// Losses between images and their texts (LoVT, arXiv 2112.02889, section 3.3, and its published code; the
// global one is that of ConVIRT, arXiv 2010.00747, equations 2 to 4). f32 or f64, differentiable; rows are
// all that a loss knows.

/// NT-Xent between rows [B, d] of images and of their texts: of cosines over `temperature`, each image picks
/// its text among all texts, l_i2t, and each text its image, l_t2i. Scalar: image_weight l_i2t + (1 -
/// image_weight) l_t2i.
at::Tensor cross_modal_nt_xent(const at::Tensor& images, const at::Tensor& texts, double temperature,
                               double image_weight);

/// How many images have a cosine with their own text that no other text exceeds.
double own_text_found(const at::Tensor& images, const at::Tensor& texts);

/// What of each region is also a hit, [K, K] f32 for the K = height * width cells of a grid, row by row:
/// p_ij in proportion to exp(-d_ij / beta) where d_ij <= threshold, else 0; rows add up to 1. d is the
/// distance of the cells over the diagonal of the grid. Pairs exactly at the threshold are in. threshold 0:
/// the identity.
at::Tensor near_regions(std::int64_t height, std::int64_t width, double threshold, double beta);

/// Of each of b samples, [b].
struct LocalContrast {
  at::Tensor of_own;       ///< own vectors are the anchors
  at::Tensor of_attended;  ///< those that the other modality made are
};

/// Within a sample: N vectors `own` and `attended`, both [b, N, d]. With s_ij = cos(own_i, attended_j) /
/// temperature an anchor's loss is -sum_j p_ij s_ij + log sum_j exp(s_ij); of a sample sum_i w_i of them.
/// `hits` p [N, N]; undefined: the identity. `valid` [b, N] bool, of each sample one or more; undefined: all.
/// What is not valid is no anchor and no other. `weights` [b, N], which are divided by their sum over what is
/// valid; undefined: equal ones.
LocalContrast local_contrast(const at::Tensor& own, const at::Tensor& attended, const at::Tensor& hits,
                             const at::Tensor& valid, const at::Tensor& weights, double temperature);

}  // namespace cohort::method
