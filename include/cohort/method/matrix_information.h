#pragma once
#include <ATen/core/Tensor.h>

namespace cohort::method {

// Information of rows by matrices: Zhang et al., arXiv 2305.17326; Tan et al., arXiv 2309.17281. A Gram
// matrix K [n, n] is symmetric, positive semi-definite and has a diagonal of ones: Z Z^T of rows Z [n, d] of
// length
// 1. Give f64. Scalars, differentiable, in nats.

/// [n, d]: each row divided by its length (1e-12 at least).
at::Tensor unit_rows(const at::Tensor& rows);

/// Entropy of `order` > 0: log tr((K/n)^order) / (1 - order); of order 1 -tr(K/n log K/n); of order 2 without
/// eigenvalues. The joint entropy of K1 and K2 is that of K1 * K2, entry by entry.
at::Tensor matrix_entropy(const at::Tensor& gram, double order);
/// H(K1) + H(K2) - H(K1 * K2).
at::Tensor mutual_information(const at::Tensor& gram1, const at::Tensor& gram2, double order);
/// exp of the entropy of the singular values of `rows`, divided by their sum.
at::Tensor effective_rank(const at::Tensor& rows);
/// Total coding rate: log det(I + mu/d Z^T Z), of the smaller of Z^T Z and Z Z^T, by Cholesky.
at::Tensor coding_rate(const at::Tensor& rows, double mu);

/// tr(-P log Q + Q) of symmetric P and Q [d, d], to both of which `epsilon` I is added; eigenvalues below
/// epsilon count as epsilon, with gradient 0.
at::Tensor matrix_cross_entropy(const at::Tensor& p, const at::Tensor& q, double epsilon);
/// tr(P log P - P log Q - P + Q), likewise.
at::Tensor matrix_kl(const at::Tensor& p, const at::Tensor& q, double epsilon);

}  // namespace cohort::method
