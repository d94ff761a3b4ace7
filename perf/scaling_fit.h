#pragma once
#include <vector>

namespace cohort::perf {

/// A number of ranks, the time of a step and the part of it spent waiting for other ranks, in ms.
struct ScalingPoint {
  double ranks = 1, time = 0, communication = 0;
};

/// T(n) = serial + parallel / n + C(n): Amdahl's law ("Validity of the single processor approach to achieving
/// large scale computing capabilities", 1967) and communication. C(n) = bandwidth · (n-1)/n + latency · log2
/// n: what every rank sends in a ring all-reduce, and the depth of a tree (Thakur et al., "Optimization of
/// collective communication operations in MPICH", 2005). All in ms, none negative, by least squares: C from
/// what was spent on communication, the rest from the rest.
struct ScalingFit {
  double serial = 0, parallel = 0;  ///< weak scaling: all of it is `serial`, which does not change with n
  double bandwidth = 0, latency = 0;

  [[nodiscard]] double time(double ranks) const;
  /// Part of the time on one rank that more ranks do not shorten.
  [[nodiscard]] double serial_fraction() const;
};

/// Precondition: there are points. `weak`: the work of each rank stays the same.
ScalingFit fit_scaling(const std::vector<ScalingPoint>& points, bool weak);

}  // namespace cohort::perf
