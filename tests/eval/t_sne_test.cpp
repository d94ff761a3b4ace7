// Places of t-SNE: what is near stays near, and the same numbers come again.
#include "cohort/eval/t_sne.h"

#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/random.h"
#include "cohort/eval/explain.h"

namespace cohort::eval {
namespace {

constexpr std::int64_t kPoints = 90, kClusters = 3, kWidth = 12;

/// Points i of cluster i % kClusters, whose centres are 8 deviations apart.
at::Tensor clustered() {
  at::Tensor features = at::empty({kPoints, kWidth}, at::kDouble);
  auto values = features.accessor<double, 2>();
  RandomStream random({.purpose = Purpose::synthetic});
  for (std::int64_t i = 0; i < kPoints; ++i) {
    for (std::int64_t d = 0; d < kWidth; ++d)
      values[i][d] = random.normal() + (d == i % kClusters ? 8.0 : 0.0);
  }
  return features;
}

/// How often a point's nearest other point is one of its cluster.
double purity(const at::Tensor& places) {
  const at::Tensor distances = at::cdist(places, places) + at::eye(places.size(0), at::kDouble) * 1e9;
  const at::Tensor nearest = distances.argmin(1);
  double own = 0;
  for (std::int64_t i = 0; i < kPoints; ++i)
    own += nearest[i].item<std::int64_t>() % kClusters == i % kClusters;
  return own / kPoints;
}

TEST(Tsne, KeepsNeighboursTogether) {
  const at::Tensor features = clustered();
  const at::Tensor places =
      t_sne(features, principal_components(features).points, {.perplexity = 10, .steps = 500});
  EXPECT_EQ(places.sizes(), (std::vector<std::int64_t>{kPoints, 2}));
  EXPECT_TRUE(places.isfinite().all().item<bool>());
  EXPECT_EQ(purity(places), 1.0);
  // Clusters lie apart: farther than points of one cluster are, by a multiple.
  const at::Tensor grouped = places.view({kPoints / kClusters, kClusters, 2});
  const at::Tensor centres = grouped.mean(0), spread = (grouped - centres).norm(2, 2).mean();
  EXPECT_GT(at::pdist(centres).min().item<double>(), 3 * spread.item<double>());
}

// Equation 3 and 4 of the paper, told once more: the divergence that the descent lowers.
double divergence(const at::Tensor& features, const at::Tensor& places, double perplexity) {
  const at::Tensor distances = at::cdist(features, features).square();
  at::Tensor conditional = at::zeros_like(distances);
  for (std::int64_t i = 0; i < kPoints; ++i) {
    double low = 1e-6, high = 1e3;
    for (int step = 0; step < 200; ++step) {
      const double precision = std::sqrt(low * high);
      at::Tensor p = (-precision * distances[i]).exp();
      p[i] = 0;
      p = p / p.sum();
      const double entropy = -(p * p.clamp_min(1e-300).log()).sum().item<double>();
      (entropy > std::log(perplexity) ? low : high) = precision;
      conditional[i] = p;
    }
  }
  const at::Tensor p = ((conditional + conditional.t()) / (2.0 * kPoints)).clamp_min(1e-12);
  at::Tensor q = 1 / (1 + at::cdist(places, places).square());
  q.fill_diagonal_(0);
  q = (q / q.sum()).clamp_min(1e-12);
  return (p * (p / q).log()).fill_diagonal_(0).sum().item<double>();
}

TEST(Tsne, LowersTheDivergenceOfThePaper) {
  const at::Tensor features = clustered(), start = principal_components(features).points;
  const at::Tensor early = t_sne(features, start, {.perplexity = 10, .steps = 260}),
                   late = t_sne(features, start, {.perplexity = 10, .steps = 1000});
  const double begin = divergence(features, start * 1e-4, 10), end = divergence(features, late, 10);
  EXPECT_LT(end, divergence(features, early, 10));
  EXPECT_LT(end, 0.5 * begin);
}

TEST(Tsne, GivesTheSamePlacesAgain) {
  const at::Tensor features = clustered(), start = principal_components(features).points;
  const TsneConfig config{.perplexity = 10, .steps = 100};
  EXPECT_TRUE(t_sne(features, start, config).equal(t_sne(features, start, config)));
}

}  // namespace
}  // namespace cohort::eval
