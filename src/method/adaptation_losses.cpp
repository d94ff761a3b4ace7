#include "cohort/method/adaptation_losses.h"

#include <cmath>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "cohort/core/error.h"

namespace cohort::method {
namespace {

constexpr std::int64_t kUnlabelled = -1;

struct Reversal : torch::autograd::Function<Reversal> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& values,
                            double coefficient) {
    context->saved_data["coefficient"] = coefficient;
    return values.view_as(values);
  }

  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               const torch::autograd::tensor_list& gradients) {
    return {gradients[0] * -context->saved_data["coefficient"].toDouble(), at::Tensor()};
  }
};

/// H of each row of shares that add up to 1.
at::Tensor entropies(const at::Tensor& shares) {
  return -at::xlogy(shares, shares).sum(-1);
}

/// H of softmax(logits), with a gradient also where a share is 0.
at::Tensor entropies_of(const at::Tensor& logits) {
  const at::Tensor shares = logits.softmax(1);
  return -(shares * logits.log_softmax(1)).sum(1);
}

/// |x_i - y_j|^2 [n, m]. Of differences: products would cancel digits where points lie close together.
at::Tensor squared_distances(const at::Tensor& x, const at::Tensor& y) {
  return at::square(x.unsqueeze(1) - y.unsqueeze(0)).sum(2);
}

/// The kernels of all pairs of two sets.
struct Kernels {
  at::Tensor source, target, across;  // [n_s, n_s], [n_t, n_t], [n_s, n_t]
};

Kernels kernels_of(const at::Tensor& source, const at::Tensor& target) {
  const at::Tensor all = at::cat({source, target});
  const at::Tensor distances = squared_distances(all, all);
  // Sets of equal points: any width gives kernels of 1.
  const at::Tensor spread = distances.detach().mean().clamp_min(1e-30);
  at::Tensor sum;
  for (const double width : {0.5, 1.0, 2.0}) {
    const at::Tensor kernel = (distances / (-2 * width * spread)).exp();
    sum = sum.defined() ? sum + kernel : kernel;
  }
  const std::int64_t sources = source.size(0), targets = target.size(0);
  const at::Tensor of_source = sum.narrow(0, 0, sources);
  return {of_source.narrow(1, 0, sources), sum.narrow(0, sources, targets).narrow(1, sources, targets),
          of_source.narrow(1, sources, targets)};
}

at::Tensor mean_of_others(const at::Tensor& kernel) {
  const std::int64_t count = kernel.size(0);
  COHORT_CHECK(count > 1, "an unbiased mean over the pairs of {} images", count);
  return (kernel.sum() - kernel.diagonal().sum()) / static_cast<double>(count * (count - 1));
}

/// [n, C]: how much each target image counts for each class, in all.
at::Tensor shares_of(const at::Tensor& logits, std::optional<double> threshold) {
  const at::Tensor shares = logits.detach().softmax(1);
  if (!threshold) return shares;
  const auto [most, chosen] = shares.max(1);
  return at::one_hot(chosen, logits.size(1)).to(shares.scalar_type()) *
         most.gt(*threshold).unsqueeze(1).to(shares.scalar_type());
}

/// Columns that add up to 1, or are 0.
at::Tensor columns_of_sum_one(const at::Tensor& shares) {
  const at::Tensor sums = shares.sum(0);
  return at::where(sums > 0, shares / sums, at::zeros_like(shares));
}

/// u^T K v of each class.
at::Tensor weighted_means(const at::Tensor& u, const at::Tensor& kernel, const at::Tensor& v) {
  return (u * at::mm(kernel, v)).sum(0);
}

at::Tensor labels_by_class(const at::Tensor& labels, const at::Tensor& like) {
  const at::Tensor known = labels.ne(kUnlabelled);
  return at::one_hot(labels.clamp_min(0), like.size(1)).to(like.scalar_type()) *
         known.unsqueeze(1).to(like.scalar_type());
}

}  // namespace

double reversal_coefficient(std::int64_t step) {
  return 2.0 / (1.0 + std::exp(-static_cast<double>(step) / 1000.0)) - 1.0;
}

double adaptation_ramp(double part) {
  return 2.0 / (1.0 + std::exp(-10.0 * part)) - 1.0;
}

at::Tensor reversed_gradient(const at::Tensor& values, double coefficient) {
  return Reversal::apply(values, coefficient);
}

at::Tensor certainty_weights(const at::Tensor& logits, double epsilon) {
  const at::Tensor shares = logits.detach().softmax(1);
  const at::Tensor entropy = epsilon == 0.0 ? entropies(shares) : -(shares * (shares + epsilon).log()).sum(1);
  const at::Tensor weights = 1.0 + (-entropy).exp();
  return weights / weights.mean();
}

at::Tensor conditioned_features(const at::Tensor& features, const at::Tensor& logits) {
  const at::Tensor shares = logits.detach().softmax(1);
  return at::bmm(shares.unsqueeze(2), features.unsqueeze(1)).flatten(1);
}

at::Tensor randomly_conditioned_features(const at::Tensor& features, const at::Tensor& logits,
                                         const at::Tensor& random_features,
                                         const at::Tensor& random_classes) {
  const at::Tensor shares = logits.detach().softmax(1);
  return at::mm(features, random_features) * at::mm(shares, random_classes) /
         std::sqrt(static_cast<double>(random_features.size(1)));
}

at::Tensor domain_cross_entropy(const at::Tensor& logits, const at::Tensor& domain,
                                const at::Tensor& weights) {
  const at::Tensor losses =
      logits.size(1) == 1
          ? at::binary_cross_entropy_with_logits(logits.select(1, 0), domain.to(logits.scalar_type()),
                                                 /*weight=*/{}, /*pos_weight=*/{}, at::Reduction::None)
          : at::cross_entropy_loss(logits, domain, /*weight=*/{}, at::Reduction::None);
  return (weights.defined() ? losses * weights : losses).mean();
}

at::Tensor mean_discrepancy(const at::Tensor& source, const at::Tensor& target, bool unbiased) {
  const Kernels kernels = kernels_of(source, target);
  const auto mean = [&](const at::Tensor& kernel) {
    return unbiased ? mean_of_others(kernel) : kernel.mean();
  };
  return mean(kernels.source) + mean(kernels.target) - 2 * kernels.across.mean();
}

ClassDiscrepancy class_discrepancy(const at::Tensor& source, const at::Tensor& labels,
                                   const at::Tensor& target, const at::Tensor& target_logits,
                                   std::optional<double> threshold) {
  const at::Tensor u = columns_of_sum_one(labels_by_class(labels, target_logits)),
                   v = columns_of_sum_one(shares_of(target_logits, threshold));
  const Kernels kernels = kernels_of(source, target);
  const at::Tensor of_class = weighted_means(u, kernels.source, u) + weighted_means(v, kernels.target, v) -
                              2 * weighted_means(u, kernels.across, v);
  const at::Tensor in_both = u.sum(0).gt(0).logical_and(v.sum(0).gt(0));
  const at::Tensor count = in_both.sum().clamp_min(1);
  return {(of_class * in_both.to(of_class.scalar_type())).sum() / count, in_both.nonzero().flatten()};
}

at::Tensor class_confusion_matrix(const at::Tensor& logits, double temperature, double epsilon) {
  const at::Tensor cooled = logits / temperature;
  const at::Tensor shares = cooled.softmax(1);
  const at::Tensor sum = at::mm((shares * certainty_weights(cooled, epsilon).unsqueeze(1)).t(), shares);
  return sum / sum.sum(1, /*keepdim=*/true);
}

at::Tensor class_confusion(const at::Tensor& logits, double temperature, double epsilon) {
  const at::Tensor matrix = class_confusion_matrix(logits, temperature, epsilon);
  return (matrix.sum() - matrix.diagonal().sum()) / static_cast<double>(logits.size(1));
}

Information information(const at::Tensor& logits) {
  return {entropies_of(logits).mean(), entropies(logits.softmax(1).mean(0))};
}

}  // namespace cohort::method
