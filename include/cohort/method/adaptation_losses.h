#pragma once
#include <cstdint>
#include <optional>

#include <ATen/core/Tensor.h>

namespace cohort::method {

// Losses of domain adaptation: images of a source domain have classes, those of a target domain have none.
// Features f [n, F], logits g [n, C]; p = softmax(g), H its entropy with 0 ln 0 = 0. Scalars, in the
// precision of what goes in, differentiable. Rows are all that a loss knows: those of all images of a step
// make a loss over all ranks.

/// Of an adversary, for the step as it is: 2 / (1 + e^(-step / 1000)) - 1, 0 at the first (published code of
/// CDAN, Long et al., arXiv 1705.10667).
double reversal_coefficient(std::int64_t step);
/// 2 / (1 + e^(-10 t)) - 1 at the part t of training that is done (Ganin et al., arXiv 1505.07818, section
/// 5.2.2).
double adaptation_ramp(double part);

/// `values` as they are; their gradient comes back times -coefficient (Ganin and Lempitsky, arXiv 1409.7495).
at::Tensor reversed_gradient(const at::Tensor& values, double coefficient);

/// [n]: 1 + e^(-H(p)), scaled to mean 1. Constants. `epsilon`: entropies of ln(p + epsilon), as published
/// code has them; 0: exact ones.
at::Tensor certainty_weights(const at::Tensor& logits, double epsilon = 0.0);

/// vec(p x f) [n, C F], p constant: what CDAN's adversary sees (arXiv 1705.10667, equation 5).
at::Tensor conditioned_features(const at::Tensor& features, const at::Tensor& logits);
/// The same in d random directions [n, d] (equation 6): (f R_f) * (p R_g) / sqrt(d), R_f [F, d], R_g [C, d].
at::Tensor randomly_conditioned_features(const at::Tensor& features, const at::Tensor& logits,
                                         const at::Tensor& random_features, const at::Tensor& random_classes);

/// Mean cross-entropy of an adversary's logits [n, D] with domains [n] i64 (0 … D - 1), weighted by
/// `weights` [n]; undefined: all alike. A single column (D = 1) is the logit of domain 1.
at::Tensor domain_cross_entropy(const at::Tensor& logits, const at::Tensor& domain,
                                const at::Tensor& weights = {});

/// Squared maximum mean discrepancy (Gretton et al., JMLR 13, 2012) with the sum of three Gaussian kernels
/// exp(-|x - y|^2 / (2 a s)), a = 1/2, 1, 2, s the mean of all squared distances of both sets together, a
/// constant (deep adaptation networks, Long et al., arXiv 1502.02791). `unbiased`: pairs of an image with
/// itself are left out; needs two images of each domain.
at::Tensor mean_discrepancy(const at::Tensor& source, const at::Tensor& target, bool unbiased = false);

struct ClassDiscrepancy {
  at::Tensor loss;     ///< the mean over the classes that both domains have; 0 without any
  at::Tensor classes;  ///< those, i64, ascending
};
/// The biased discrepancy of each class. Source images count where their label [n] i64 is the class; target
/// images by the share p of it, or, with a `threshold`, where p is largest for it and above the threshold.
/// Labels and shares are constants. A label of -1 counts nowhere.
ClassDiscrepancy class_discrepancy(const at::Tensor& source, const at::Tensor& labels,
                                   const at::Tensor& target, const at::Tensor& target_logits,
                                   std::optional<double> threshold = std::nullopt);

/// Minimum class confusion (Jin et al., arXiv 1912.03699, equations 3 to 7): of q = softmax(g / temperature)
/// and w = certainty_weights(g / temperature), M = sum_j w_j q_j q_j^T with rows divided by their sums [C,
/// C].
at::Tensor class_confusion_matrix(const at::Tensor& logits, double temperature, double epsilon = 0.0);
/// What of it lies off the diagonal, / C.
at::Tensor class_confusion(const at::Tensor& logits, double temperature, double epsilon = 0.0);

/// Information maximisation (Shi and Sha, 2012; Liang et al., arXiv 2002.08546, equation 3): single
/// predictions confident, all together diverse.
struct Information {
  at::Tensor conditional;  ///< mean of H(p)
  at::Tensor marginal;     ///< H of the mean p
};
/// The loss is conditional - marginal.
Information information(const at::Tensor& logits);

}  // namespace cohort::method
