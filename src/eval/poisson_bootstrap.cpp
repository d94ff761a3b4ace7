#include "eval/poisson_bootstrap.h"

#include <array>
#include <cmath>
#include <limits>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

#include "eval/percentiles.h"
#include "eval/sum_over_ranks.h"

namespace cohort::eval {
namespace {

/// How often a Poisson variable of mean 1 is at least k = 1, 2, …, in units of 2⁻³²: a word below the limit
/// counts one more. Beyond the last one none is drawn.
const std::array<std::uint32_t, 12>& limits() {
  static const auto kLimits = [] {
    std::array<std::uint32_t, 12> all{};
    double tail = 1.0, term = std::exp(-1.0);
    for (std::size_t k = 0; k < all.size(); ++k) {
      tail -= term;
      term /= static_cast<double>(k + 1);
      all.at(k) = static_cast<std::uint32_t>(std::lround(std::max(tail, 0.0) * 0x1p32));
    }
    return all;
  }();
  return kLimits;
}

std::int64_t poisson(std::uint32_t word) {
  std::int64_t count = 0;
  for (const std::uint32_t limit : limits()) {
    if (word >= limit) break;
    ++count;
  }
  return count;
}

}  // namespace

PoissonBootstrap::PoissonBootstrap(std::size_t sums) : sums_(sums), totals_(kSamples * sums) {}

void PoissonBootstrap::add(std::int64_t row, std::span<const double> terms) {
  COHORT_CHECK(terms.size() == sums_, "{} terms of {} sums", terms.size(), sums_);
  RandomStream random({.purpose = Purpose::bootstrap, .time = 1, .sample = row});
  std::vector<ExactSum> exact(sums_);
  for (std::size_t i = 0; i < sums_; ++i) exact[i].add(terms[i]);
  for (std::size_t sample = 0; sample < kSamples; ++sample) {
    const std::int64_t times = poisson(random());
    if (times == 0) continue;
    for (std::size_t i = 0; i < sums_; ++i) totals_[sample * sums_ + i].add(exact[i], times);
  }
}

void PoissonBootstrap::add_up(comm::Communicator& ranks) {
  sum_over_ranks(totals_, ranks);
}

Interval PoissonBootstrap::interval(const std::function<double(std::span<const double> sums)>& score) const {
  std::vector<double> scores, sums(sums_);
  for (std::size_t sample = 0; sample < kSamples; ++sample) {
    for (std::size_t i = 0; i < sums_; ++i) sums[i] = totals_[sample * sums_ + i].value();
    if (const double value = score(sums); std::isfinite(value)) scores.push_back(value);
  }
  if (scores.empty())
    return {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN()};
  return middle_95(std::move(scores));
}

}  // namespace cohort::eval
