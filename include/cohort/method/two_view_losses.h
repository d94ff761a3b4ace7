#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

namespace cohort::method {

// Losses on two views of B images: rows z1, z2 [B, d], row i of both from image i. Scalars, in the precision
// of the rows (f32 or f64; matrix_ssl's logarithm in f64), differentiable. Rows are all that a loss knows:
// those of all images of a step make a loss over all ranks.

/// NT-Xent of SimCLR (Chen et al., arXiv 2002.05709, equation 1): rows of length 1, each of the 2 B picks the
/// other view of its image among the 2 B - 1 others by a softmax of cosines / temperature. With `parts`,
/// which divides B, runs of B / parts images are contrasted among themselves alone, and it is the mean of
/// their losses (published as the mean over ranks of their own losses).
at::Tensor nt_xent(const at::Tensor& z1, const at::Tensor& z2, double temperature, std::int64_t parts = 1);

/// Barlow Twins (Zbontar et al., arXiv 2103.03230, equation 1): of C = s1^T s2 / B, with columns s of mean 0
/// and deviation 1 (population, variance + 1e-5), sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2.
at::Tensor barlow_twins(const at::Tensor& z1, const at::Tensor& z2, double lambda);

/// Spectral contrastive loss (HaoChen et al., arXiv 2106.04156; published code): rows longer than sqrt(mu)
/// are scaled to sqrt(mu), then (-2 mean_i z1_i z2_i + mean_{i != j} (z1_i z2_j)^2) / mu.
at::Tensor spectral_contrastive(const at::Tensor& z1, const at::Tensor& z2, double mu);

/// H-centred covariance of rows of length 1: A^T (I - 1 1^T / B) B / B, [d, d].
at::Tensor covariance_of_views(const at::Tensor& z1, const at::Tensor& z2);

/// Matrix-SSL (Zhang et al., arXiv 2305.17326) as the paper has it, with C_ab = covariance_of_views(z_a,
/// z_b):
///   MKL(I/d || C_12) - tr C_12 + gamma MCE(C_11, C_22),
///   MKL(P || Q) = tr(P log P - P log Q - P + Q), MCE(P, Q) = tr(-P log Q + Q),
/// `epsilon` I is added to P and Q; C_12 is made symmetric first, and eigenvalues below epsilon count as
/// epsilon, with gradient 0.
at::Tensor matrix_ssl(const at::Tensor& z1, const at::Tensor& z2, double gamma, double epsilon);

struct MatrixSslReference {
  double gamma = 1.0, lambda = 1.0, mu = 1.0;
  std::int64_t order = 4;  ///< terms of the series
};

/// The same as its published code has it, with rows p1, p2 of a teacher (constants): half the sum over (p, z)
/// = (p2, z1), (p1, z2) of
///   -lambda tr l(C(p, z) + mu I) - gamma tr((C(p, p) + mu I) l(C(z, z) + mu I)),
/// l the first terms of the series of the logarithm around I.
at::Tensor matrix_ssl_reference(const at::Tensor& z1, const at::Tensor& z2, const at::Tensor& p1,
                                const at::Tensor& p2, const MatrixSslReference& options);

/// Of how many of the 2 B rows the other view of the image has the largest cosine among the 2 B - 1 others.
double other_view_found(const at::Tensor& z1, const at::Tensor& z2);

/// BYOL (Grill et al., arXiv 2006.07733, equation 2) of one direction: sum over the rows of 2 - 2
/// cos(prediction, target), the target a constant.
at::Tensor byol_sum(const at::Tensor& prediction, const at::Tensor& target);

/// SimSiam (Chen and He, arXiv 2011.10566, equation 1 with the stop-gradient of 3) of one direction: sum over
/// the rows of -cos(prediction, target), the target a constant.
at::Tensor simsiam_sum(const at::Tensor& prediction, const at::Tensor& target);

}  // namespace cohort::method
