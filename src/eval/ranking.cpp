#include "eval/ranking.h"

#include <algorithm>
#include <numeric>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

#include "eval/percentiles.h"

namespace cohort::eval {
namespace {

constexpr std::int64_t kSamples = 1000;

}  // namespace

Ranking::Ranking(std::span<const double> values, std::span<const bool> positive) {
  COHORT_CHECK(values.size() == positive.size(), "{} values of {} images", values.size(), positive.size());
  std::vector<std::int32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  const auto value = [&](std::int32_t image) { return values[static_cast<std::size_t>(image)]; };
  std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return value(a) < value(b); });
  for (std::size_t i = 0; i < order.size(); ++i) {
    const bool ends = i + 1 == order.size() || value(order[i]) != value(order[i + 1]);
    order_.push_back({order[i], positive[static_cast<std::size_t>(order[i])], ends});
  }
}

std::optional<double> Ranking::area(std::span<const std::int32_t> weights) const {
  double negatives = 0, positives = 0, won = 0;  // pairs in which the positive one has the larger value
  for_each_tie(weights, [&](double tied_positives, double tied_negatives) {
    won += tied_positives * (negatives + tied_negatives / 2);
    negatives += tied_negatives;
    positives += tied_positives;
  });
  if (positives == 0 || negatives == 0) return std::nullopt;
  return won / (positives * negatives);
}

std::optional<double> Ranking::average_precision(std::span<const std::int32_t> weights) const {
  double positives = 0, negatives = 0, precision = 0;  // from the tie on; at every positive image
  for_each_tie(weights, [&](double tied_positives, double tied_negatives) {
    positives += tied_positives;
    negatives += tied_negatives;
  });
  const double all = positives;
  if (all == 0) return std::nullopt;
  for_each_tie(weights, [&](double tied_positives, double tied_negatives) {
    if (tied_positives > 0) precision += tied_positives * positives / (positives + negatives);
    positives -= tied_positives;
    negatives -= tied_negatives;
  });
  return precision / all;
}

BootstrapIntervals bootstrap(std::span<const std::int64_t> right, const Ranking* ranking) {
  std::vector<double> accuracies, areas;
  std::vector<std::int32_t> weights(right.size());
  for (std::int64_t sample = 0; sample < kSamples; ++sample) {
    RandomStream random({.purpose = Purpose::bootstrap, .sample = sample});
    std::fill(weights.begin(), weights.end(), 0);
    std::int64_t correct = 0;
    for (std::size_t i = 0; i < right.size(); ++i) {
      const std::uint64_t drawn = random.below(right.size());
      ++weights[drawn];
      correct += right[drawn];
    }
    accuracies.push_back(static_cast<double>(correct) / static_cast<double>(right.size()));
    if (ranking == nullptr) continue;
    if (const auto area = ranking->area(weights)) areas.push_back(*area);
  }
  BootstrapIntervals intervals{middle_95(std::move(accuracies)), std::nullopt};
  if (!areas.empty()) intervals.area = middle_95(std::move(areas));
  return intervals;
}

}  // namespace cohort::eval
