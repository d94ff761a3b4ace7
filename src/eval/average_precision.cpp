#include "eval/average_precision.h"

#include <algorithm>
#include <numeric>

namespace cohort::eval {
namespace {

/// The largest k with k · 0.01 ≤ recall, in doubles.
std::size_t step_of(double recall) {
  constexpr double kStep = 0.01;
  auto k = static_cast<std::size_t>(recall / kStep);
  while (static_cast<double>(k) * kStep > recall) --k;
  while (static_cast<double>(k + 1) * kStep <= recall) ++k;
  return std::min(k, AveragePrecision::kRecalls - 1);
}

}  // namespace

void AveragePrecision::add(bool is_right, std::int64_t positives) noexcept {
  ++all_;
  if (!is_right) return;  // precision falls, and recall stays
  ++right_;
  double& best = best_.at(step_of(static_cast<double>(right_) / static_cast<double>(positives)));
  best = std::max(best, static_cast<double>(right_) / static_cast<double>(all_));
}

std::array<double, AveragePrecision::kRecalls> AveragePrecision::precisions() const noexcept {
  std::array<double, kRecalls> precisions = best_;
  for (std::size_t k = kRecalls - 1; k-- > 0;) precisions.at(k) = std::max(best_.at(k), precisions.at(k + 1));
  return precisions;
}

double AveragePrecision::value() const noexcept {
  const std::array<double, kRecalls> all = precisions();
  return std::accumulate(all.begin(), all.end(), 0.0) / static_cast<double>(kRecalls);
}

void FreeResponse::add(std::int64_t found, bool is_wrong, std::int64_t images) noexcept {
  found_ += found;
  wrong_ += is_wrong ? 1 : 0;
  if (reached_ == kRates.size()) return;
  if (static_cast<double>(wrong_) / static_cast<double>(images) >= kRates.at(reached_))
    found_at_.at(reached_++) = found_;
}

std::array<double, FreeResponse::kRates.size()> FreeResponse::sensitivities(
    std::int64_t positives) const noexcept {
  std::array<double, kRates.size()> all{};
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::int64_t found = reached_ == 0 ? found_ : found_at_.at(std::min(i, reached_ - 1));
    all.at(i) = static_cast<double>(found) / static_cast<double>(positives);
  }
  return all;
}

double FreeResponse::value(std::int64_t positives) const noexcept {
  const auto all = sensitivities(positives);
  return std::accumulate(all.begin(), all.end(), 0.0) / static_cast<double>(all.size());
}

}  // namespace cohort::eval
