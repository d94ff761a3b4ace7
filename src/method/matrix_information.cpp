#include "cohort/method/matrix_information.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <torch/autograd.h>

namespace cohort::method {
namespace {

constexpr double kShortestRow = 1e-12;

/// Logarithm of a symmetric matrix [d, d] f64 by its eigenvalues, those below `least` taken as `least`. The
/// gradient divides by no difference of equal eigenvalues, as that of the eigenvectors would.
struct SymmetricLog : torch::autograd::Function<SymmetricLog> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& matrix,
                            double least) {
    // LAPACK refuses what is not finite; a step of such numbers is judged by its loss, which is none then.
    const auto [values, vectors] = at::linalg_eigh(at::nan_to_num(matrix, 0, 0, 0));
    context->save_for_backward({values, vectors});
    context->saved_data["least"] = least;
    return at::mm(vectors * values.clamp_min(least).log(), vectors.t()) + matrix.sum() * 0;
  }

  // V (K * (V^T G V)) V^T, K_ij = (f(l_i) - f(l_j)) / (l_i - l_j), the derivative f' where they are equal
  // (Daleckii and Krein).
  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               const torch::autograd::tensor_list& gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &values = saved[0], &vectors = saved[1];
    const double least = context->saved_data["least"].toDouble();
    const at::Tensor counted = values.clamp_min(least), other = counted.unsqueeze(0);
    const at::Tensor slopes = at::where(values > least, values.reciprocal(), at::zeros_like(values));
    const at::Tensor gaps = values.unsqueeze(1) - values.unsqueeze(0);
    // log1p: a small gap cancels nothing.
    const at::Tensor quotients = at::where(gaps == 0, slopes.unsqueeze(1).expand_as(gaps),
                                           at::log1p((counted.unsqueeze(1) - other) / other) / gaps);
    const at::Tensor inner = quotients * at::mm(vectors.t(), at::mm(gradients[0], vectors));
    return {at::mm(vectors, at::mm(inner, vectors.t())), at::Tensor()};
  }
};

at::Tensor with_ridge(const at::Tensor& matrix, double epsilon) {
  return matrix + epsilon * at::eye(matrix.size(0), matrix.options());
}

/// -sum p log p, 0 where p is 0.
at::Tensor shannon_entropy(const at::Tensor& parts) {
  return -at::xlogy(parts, parts).sum();
}

}  // namespace

at::Tensor unit_rows(const at::Tensor& rows) {
  return rows / rows.norm(2, 1, /*keepdim=*/true).clamp_min(kShortestRow);
}

at::Tensor matrix_entropy(const at::Tensor& gram, double order) {
  const auto rows = static_cast<double>(gram.size(0));
  if (order == 2) return 2 * std::log(rows) - at::square(gram).sum().log();
  const at::Tensor values = at::linalg_eigvalsh(gram / rows).clamp_min(0);
  if (order == 1) return shannon_entropy(values);
  return values.pow(order).sum().log() / (1 - order);
}

at::Tensor mutual_information(const at::Tensor& gram1, const at::Tensor& gram2, double order) {
  return matrix_entropy(gram1, order) + matrix_entropy(gram2, order) - matrix_entropy(gram1 * gram2, order);
}

at::Tensor effective_rank(const at::Tensor& rows) {
  const at::Tensor values = at::linalg_svdvals(rows);
  return shannon_entropy(values / values.sum()).exp();
}

at::Tensor coding_rate(const at::Tensor& rows, double mu) {
  const at::Tensor narrow = rows.size(0) < rows.size(1) ? rows : rows.t();
  const at::Tensor products = at::mm(narrow, narrow.t()) * (mu / static_cast<double>(rows.size(1)));
  // What is no number stays none.
  const at::Tensor root = std::get<0>(at::linalg_cholesky_ex(with_ridge(products, 1.0)));
  return 2 * root.diagonal().log().sum();
}

at::Tensor matrix_cross_entropy(const at::Tensor& p, const at::Tensor& q, double epsilon) {
  const at::Tensor wide_p = with_ridge(p, epsilon), wide_q = with_ridge(q, epsilon);
  return wide_q.trace() - (wide_p * SymmetricLog::apply(wide_q, epsilon)).sum();
}

at::Tensor matrix_kl(const at::Tensor& p, const at::Tensor& q, double epsilon) {
  return matrix_cross_entropy(p, q, epsilon) - matrix_cross_entropy(p, p, epsilon);
}

}  // namespace cohort::method
