#include "scaling_fit.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

namespace cohort::perf {
namespace {

double ring(double ranks) {
  return (ranks - 1) / ranks;
}

/// One equation: a · x + b · y = value.
struct Equation {
  double x, y, value;
};

/// Least squares of one factor alone.
double alone(const std::vector<Equation>& equations, double Equation::*factor) {
  double squares = 0, products = 0;
  for (const Equation& equation : equations) {
    squares += equation.*factor * equation.*factor;
    products += equation.*factor * equation.value;
  }
  return squares > 0 ? std::max(0.0, products / squares) : 0;
}

double residual(const std::vector<Equation>& equations, std::pair<double, double> ab) {
  double sum = 0;
  for (const Equation& equation : equations) {
    const double off = ab.first * equation.x + ab.second * equation.y - equation.value;
    sum += off * off;
  }
  return sum;
}

/// a and b, neither negative: of two unknowns the solution lies inside or on one of the two axes.
std::pair<double, double> solve(const std::vector<Equation>& equations) {
  double xx = 0, xy = 0, yy = 0, xv = 0, yv = 0;
  for (const auto& [x, y, value] : equations)
    xx += x * x, xy += x * y, yy += y * y, xv += x * value, yv += y * value;
  const double determinant = xx * yy - xy * xy;
  if (determinant > 1e-9 * xx * yy) {
    const double a = (xv * yy - yv * xy) / determinant, b = (yv * xx - xv * xy) / determinant;
    if (a >= 0 && b >= 0) return {a, b};
  }
  const std::pair first(alone(equations, &Equation::x), 0.0), second(0.0, alone(equations, &Equation::y));
  return residual(equations, first) <= residual(equations, second) ? first : second;
}

}  // namespace

double ScalingFit::time(double ranks) const {
  return serial + parallel / ranks + bandwidth * ring(ranks) + latency * std::log2(ranks);
}

double ScalingFit::serial_fraction() const {
  return serial + parallel > 0 ? serial / (serial + parallel) : 0;
}

ScalingFit fit_scaling(const std::vector<ScalingPoint>& points, bool weak) {
  std::vector<Equation> communication, computation;
  for (const ScalingPoint& point : points) {
    if (point.ranks > 1)
      communication.push_back({ring(point.ranks), std::log2(point.ranks), point.communication});
    computation.push_back({1.0, weak ? 0.0 : 1 / point.ranks, point.time - point.communication});
  }
  ScalingFit fit;
  std::tie(fit.serial, fit.parallel) = solve(computation);
  std::tie(fit.bandwidth, fit.latency) = solve(communication);
  return fit;
}

}  // namespace cohort::perf
