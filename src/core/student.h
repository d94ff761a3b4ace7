#pragma once

namespace cohort {

/// The t > 0 that |T| exceeds with probability `tail`, of Student's t distribution with `degrees` of freedom:
/// half of a 95 % interval is that of tail 0.05 times the standard error. 0 < tail < 1; degrees > 0, not
/// always whole.
double student_quantile(double tail, double degrees);

}  // namespace cohort
