#pragma once
#include <string>

namespace cohort::perf {

/// The most memory that this process holds at one time from now on, beyond what it holds now; Linux only.
/// Memory that was freed and kept goes back to the system first, else using it again would not show.
class ResidentPeak {
 public:
  ResidentPeak();
  /// NaN where the system does not let a process reset its peak.
  [[nodiscard]] double mib() const;

 private:
  bool measures_;
  double before_;
};

}  // namespace cohort::perf
