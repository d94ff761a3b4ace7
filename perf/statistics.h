#pragma once
#include <cstddef>
#include <span>
#include <vector>

namespace cohort::perf {

/// The value below which a fraction `part` of the values lies, between neighbours in proportion (Hyndman and
/// Fan 1996, type 7). Precondition: there are values.
double quantile(std::vector<double> values, double part);
double median(std::vector<double> values);

/// Noise of repetitions: the distance of the quartiles over the median. 0 for less than two values.
double spread(const std::vector<double>& values);

/// Medians of at most `blocks` consecutive pieces of about equal length: neighbouring repetitions are alike,
/// pieces hardly are (the method of batch means: Law and Kelton, Simulation Modeling and Analysis).
std::vector<double> block_medians(std::span<const double> values, std::size_t blocks);

/// An estimate and its confidence interval.
struct Interval {
  double value = 0, low = 0, high = 0;
};

/// Geometric mean of positive values and its interval, by Student's t distribution of their logarithms. Of
/// one value nothing is known of its noise: from 0 to infinity. `error`: 0.05 for 95 %.
Interval mean_interval(std::span<const double> values, double error);

/// How much larger `b` is than `a`: the ratio of geometric means, with its interval by Welch's t test on
/// logarithms, which leaves the variances of both as different as they are. With one value on a side from 0
/// to infinity.
Interval ratio_interval(std::span<const double> a, std::span<const double> b, double error);

}  // namespace cohort::perf
