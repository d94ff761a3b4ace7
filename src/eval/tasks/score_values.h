#pragma once
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "cohort/eval/scorecard.h"

#include "eval/percentiles.h"

namespace cohort::eval {

/// Values of N scores; NaN: there is none.
template <std::size_t N>
using ScoreValues = std::array<double, N>;

/// Each over the classes or measurements that have it.
template <std::size_t N>
ScoreValues<N> mean_over(const std::vector<ScoreValues<N>>& all) {
  ScoreValues<N> means{};
  for (std::size_t i = 0; i < N; ++i) {
    double sum = 0, count = 0;
    for (const ScoreValues<N>& values : all) {
      if (std::isnan(values[i])) continue;
      sum += values[i];
      ++count;
    }
    means[i] = count > 0 ? sum / count : std::numeric_limits<double>::quiet_NaN();
  }
  return means;
}

/// scores[first + i] get the middle 95 % of samples[…][i]; those that have none in any sample no interval.
template <std::size_t N>
void put_intervals(const std::vector<ScoreValues<N>>& samples, std::vector<Score>& scores,
                   std::size_t first = 0) {
  for (std::size_t i = 0; i < N; ++i) {
    std::vector<double> values;
    for (const ScoreValues<N>& sample : samples)
      if (!std::isnan(sample[i])) values.push_back(sample[i]);
    if (!values.empty()) scores[first + i].interval = middle_95(std::move(values));
  }
}

}  // namespace cohort::eval
