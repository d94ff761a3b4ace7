#include "statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cohort/core/error.h"

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

// DLMF 8.17.22, evaluated from the front (modified Lentz); converges fast for x below the mean.
double beta_fraction(double x, double a, double b) {
  constexpr double kTiny = 1e-300;
  double c = 1, d = 1 - (a + b) * x / (a + 1);
  d = 1 / (std::abs(d) < kTiny ? kTiny : d);
  double result = d;
  for (int m = 1; m <= 300; ++m) {
    for (const double term : {m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                              -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))}) {
      d = 1 + term * d;
      c = 1 + term / c;
      d = 1 / (std::abs(d) < kTiny ? kTiny : d);
      if (std::abs(c) < kTiny) c = kTiny;
      result *= c * d;
    }
    if (std::abs(c * d - 1) < 1e-14) break;
  }
  return result;
}

/// Regularised incomplete beta function I_x(a, b).
double incomplete_beta(double x, double a, double b) {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incomplete_beta(1 - x, b, a);
  const double front =
      std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x));
  return front * beta_fraction(x, a, b) / a;
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

double student_tail(double t, double degrees) {
  return incomplete_beta(degrees / (degrees + t * t), degrees / 2, 0.5);
}

double student_quantile(double tail, double degrees) {
  double low = 0, high = 1;
  while (student_tail(high, degrees) > tail && high < 1e12) high *= 2;
  for (int i = 0; i < 200; ++i) {
    const double middle = (low + high) / 2;
    (student_tail(middle, degrees) > tail ? low : high) = middle;
  }
  return high;
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
