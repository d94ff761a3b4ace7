#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "cohort/comm/communicator.h"
#include "cohort/eval/scorecard.h"

#include "eval/exact_sum.h"

namespace cohort::eval {

/// 95 % intervals of scores that are functions of sums over images, of which ranks see some after others and
/// keep none: in each of 1,000 samples an image counts as often as a Poisson variable of mean 1, drawn by its
/// row, says (J. A. Hanley, B. MacGibbon, "Creating non-parametric bootstrap samples using Poisson
/// frequencies", 2006; N. Chamandy et al., "Estimating uncertainty for massive data streams", 2012). The same
/// on any number of ranks. Memory: 32 kB for each sum.
class PoissonBootstrap {
 public:
  static constexpr std::size_t kSamples = 1000;

  explicit PoissonBootstrap(std::size_t sums);
  /// The terms of image `row` in each of the sums: [sums], as ExactSum has them.
  void add(std::int64_t row, std::span<const double> terms);
  /// Collective, once.
  void add_up(comm::Communicator& ranks);
  /// [sums] of one sample. After add_up().
  [[nodiscard]] std::span<const ExactSum> sums_of(std::size_t sample) const {
    return std::span(totals_).subspan(sample * sums_, sums_);
  }
  /// Percentiles 2.5 and 97.5 of `score(sums)`; samples in which it is not finite are left out. After
  /// add_up().
  [[nodiscard]] Interval interval(const std::function<double(std::span<const double> sums)>& score) const;

 private:
  std::size_t sums_;
  std::vector<ExactSum> totals_;  // [samples, sums]
};

}  // namespace cohort::eval
