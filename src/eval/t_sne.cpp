#include "cohort/eval/t_sne.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/core/error.h"

namespace cohort::eval {
namespace {

constexpr double kTiny = 1e-12;

/// Squared distances of all pairs, [n, n].
std::vector<double> distances_of(const at::Tensor& features) {
  const at::Tensor values = features.to(at::kCPU, at::kDouble).contiguous();
  const auto n = static_cast<std::size_t>(values.size(0)), width = static_cast<std::size_t>(values.size(1));
  const double* rows = values.const_data_ptr<double>();
  std::vector<double> distances(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      double sum = 0;
      for (std::size_t d = 0; d < width; ++d) {
        const double difference = rows[i * width + d] - rows[j * width + d];
        sum += difference * difference;
      }
      distances[i * n + j] = distances[j * n + i] = sum;
    }
  }
  return distances;
}

/// Probabilities of the others as neighbours of point `self`, whose entropy is log(perplexity): section 2 of
/// the paper. The precision is found by bisection.
void neighbours_of(std::size_t self, std::span<const double> distances, double perplexity,
                   std::span<double> p) {
  constexpr int kMostSteps = 100;
  constexpr double kEnough = 1e-6;
  double low = 0, high = 0, precision = 1;
  double nearest = INFINITY;
  for (std::size_t j = 0; j < p.size(); ++j)
    if (j != self) nearest = std::min(nearest, distances[j]);
  for (int step = 0; step < kMostSteps; ++step) {
    double sum = 0, weighted = 0;
    for (std::size_t j = 0; j < p.size(); ++j) {
      const double beyond = distances[j] - nearest;
      p[j] = j == self ? 0 : std::exp(-precision * beyond);
      sum += p[j];
      weighted += p[j] * beyond;
    }
    for (double& value : p) value /= sum;
    const double excess = std::log(sum) + precision * weighted / sum - std::log(perplexity);
    if (std::abs(excess) < kEnough) return;
    (excess > 0 ? low : high) = precision;
    precision = high > 0 ? (low + high) / 2 : precision * 2;
  }
}

/// Joint probabilities [n, n], which add up to 1.
std::vector<double> joint_probabilities(const std::vector<double>& distances, std::size_t n,
                                        double perplexity) {
  std::vector<double> conditional(n * n), joint(n * n);
  for (std::size_t i = 0; i < n; ++i)
    neighbours_of(i, std::span(distances).subspan(i * n, n), perplexity,
                  std::span(conditional).subspan(i * n, n));
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      if (i == j) continue;
      joint[i * n + j] =
          std::max((conditional[i * n + j] + conditional[j * n + i]) / (2 * static_cast<double>(n)), kTiny);
    }
  }
  return joint;
}

/// Places on the plane, and how they move.
class Descent {
 public:
  Descent(std::vector<double> p, const at::Tensor& start) : p_(std::move(p)) {
    const at::Tensor centred = start.to(at::kDouble) - start.to(at::kDouble).mean(0, true);
    const double deviation = std::max(centred.select(1, 0).std(false).item<double>(), kTiny);
    places_ = (centred * (1e-4 / deviation)).contiguous();
    n_ = static_cast<std::size_t>(places_.size(0));
    velocity_.resize(2 * n_);
    gains_.assign(2 * n_, 1.0);
    affinity_.resize(n_ * n_);
  }

  void step(double exaggeration, double momentum, double rate) {
    const std::vector<double> slope = gradient(exaggeration);
    auto* at = places_.data_ptr<double>();
    double x = 0, y = 0;
    for (std::size_t i = 0; i < 2 * n_; ++i) {
      constexpr double kGrowth = 0.2, kShrink = 0.8, kLeastGain = 0.01;
      const bool turns = (slope[i] > 0) == (velocity_[i] > 0);
      gains_[i] = std::max(turns ? gains_[i] * kShrink : gains_[i] + kGrowth, kLeastGain);
      velocity_[i] = momentum * velocity_[i] - rate * gains_[i] * slope[i];
      at[i] += velocity_[i];
      (i % 2 == 0 ? x : y) += at[i];
    }
    for (std::size_t i = 0; i < 2 * n_; ++i) at[i] -= (i % 2 == 0 ? x : y) / static_cast<double>(n_);
  }
  [[nodiscard]] const at::Tensor& places() const { return places_; }

 private:
  /// Equation 5 of the paper; [n, 2].
  std::vector<double> gradient(double exaggeration) {
    const auto* at = places_.const_data_ptr<double>();
    double sum = 0;
    for (std::size_t i = 0; i < n_; ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        const double dx = at[2 * i] - at[2 * j], dy = at[2 * i + 1] - at[2 * j + 1];
        affinity_[i * n_ + j] = 1 / (1 + dx * dx + dy * dy);
        sum += 2 * affinity_[i * n_ + j];
      }
    }
    std::vector<double> slope(2 * n_);
    for (std::size_t i = 0; i < n_; ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        const double near = affinity_[i * n_ + j],
                     pull = 4 * (exaggeration * p_[i * n_ + j] - near / sum) * near;
        for (std::size_t c = 0; c < 2; ++c) {
          const double part = pull * (at[2 * i + c] - at[2 * j + c]);
          slope[2 * i + c] += part;
          slope[2 * j + c] -= part;
        }
      }
    }
    return slope;
  }

  std::vector<double> p_, velocity_, gains_, affinity_;
  at::Tensor places_;
  std::size_t n_ = 0;
};

}  // namespace

at::Tensor t_sne(const at::Tensor& features, const at::Tensor& start, const TsneConfig& config) {
  const std::int64_t n = features.size(0);
  COHORT_CHECK(n > 3 && start.size(0) == n && start.size(1) == 2, "places of {} points for {}", start.size(0),
               n);
  constexpr double kExaggeration = 12, kFirstMomentum = 0.5, kMomentum = 0.8, kSlowest = 50;
  constexpr std::int64_t kEarly = 250;
  const double perplexity = std::min(config.perplexity, static_cast<double>(n - 1) / 3),
               rate = std::max(static_cast<double>(n) / kExaggeration, kSlowest);
  Descent descent(joint_probabilities(distances_of(features), static_cast<std::size_t>(n), perplexity),
                  start);
  for (std::int64_t step = 0; step < config.steps; ++step) {
    const bool is_early = step < kEarly;
    descent.step(is_early ? kExaggeration : 1, is_early ? kFirstMomentum : kMomentum, rate);
  }
  return descent.places().clone();
}

}  // namespace cohort::eval
