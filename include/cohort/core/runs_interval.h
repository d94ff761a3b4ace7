#pragma once
#include <cstdint>
#include <span>

namespace cohort {

/// The mean of a score over runs that differ in their seed or fold alone, and how sure it is.
struct RunsInterval {
  std::int64_t runs = 0;
  double mean = 0.0;        ///< NaN: no run
  double deviation = 0.0;   ///< standard deviation, n - 1; NaN: one run
  double half_width = 0.0;  ///< of the 95 % interval: 1.96 · deviation / √n; NaN: one run
  /// The same with the quantile of Student's t distribution for 1.96, which holds 95 % for a few runs too.
  double student_half_width = 0.0;
};

/// Of `scores` [n]. Both widths: J. Neyman, "Outline of a theory of statistical estimation based on
/// the classical theory of probability", 1937; "Student", "The probable error of a mean", 1908.
RunsInterval runs_interval(std::span<const double> scores);

}  // namespace cohort
