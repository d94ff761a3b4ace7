#include "statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cohort/core/error.h"

#include "core/student.h"

namespace cohort::perf {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Moments {
  double mean = 0, variance = 0;  ///< of one value, unbiased
};

Moments moments_of(std::span<const double> values) {
  const auto count = static_cast<double>(values.size());
  Moments moments;
  for (const double value : values) moments.mean += value / count;
  for (const double value : values)
    moments.variance += (value - moments.mean) * (value - moments.mean) / std::max(1.0, count - 1);
  return moments;
}

std::vector<double> logarithms(std::span<const double> values) {
  std::vector<double> result;
  for (const double value : values) result.push_back(std::log(value));
  return result;
}

}  // namespace

double quantile(std::vector<double> values, double part) {
  COHORT_CHECK(!values.empty(), "a quantile of no values");
  std::sort(values.begin(), values.end());
  const double at = part * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const double above = values[std::min(below + 1, values.size() - 1)];
  return values[below] + (at - static_cast<double>(below)) * (above - values[below]);
}

double median(std::vector<double> values) {
  return quantile(std::move(values), 0.5);
}

double spread(const std::vector<double>& values) {
  if (values.size() < 2 || median(values) == 0) return 0;
  return (quantile(values, 0.75) - quantile(values, 0.25)) / median(values);
}

std::vector<double> block_medians(std::span<const double> values, std::size_t blocks) {
  blocks = std::min(blocks, values.size());
  std::vector<double> medians;
  for (std::size_t i = 0; i < blocks; ++i) {
    const std::size_t begin = i * values.size() / blocks, end = (i + 1) * values.size() / blocks;
    const auto piece = values.subspan(begin, end - begin);
    medians.push_back(median({piece.begin(), piece.end()}));
  }
  return medians;
}

Interval mean_interval(std::span<const double> values, double error) {
  const Moments moments = moments_of(logarithms(values));
  if (values.size() < 2) return {std::exp(moments.mean), 0, kInfinity};
  const auto count = static_cast<double>(values.size());
  const double half = student_quantile(error, count - 1) * std::sqrt(moments.variance / count);
  return {std::exp(moments.mean), std::exp(moments.mean - half), std::exp(moments.mean + half)};
}

Interval ratio_interval(std::span<const double> a, std::span<const double> b, double error) {
  const Moments of_a = moments_of(logarithms(a)), of_b = moments_of(logarithms(b));
  const double difference = of_b.mean - of_a.mean;
  if (a.size() < 2 || b.size() < 2) return {std::exp(difference), 0, kInfinity};
  const auto count_a = static_cast<double>(a.size()), count_b = static_cast<double>(b.size());
  const double square_a = of_a.variance / count_a, square_b = of_b.variance / count_b,
               square = square_a + square_b;
  if (square <= 0) return {std::exp(difference), std::exp(difference), std::exp(difference)};
  // Welch–Satterthwaite
  const double degrees =
      square * square / (square_a * square_a / (count_a - 1) + square_b * square_b / (count_b - 1));
  const double half = student_quantile(error, degrees) * std::sqrt(square);
  return {std::exp(difference), std::exp(difference - half), std::exp(difference + half)};
}

}  // namespace cohort::perf
