#pragma once
#include <string>
#include <vector>

namespace cohort::jobs {

/// One element of a job array: overrides, and the name of the run folder that follows from them.
struct SweepElement {
  std::string name;  ///< "optimizer.lr=1e-3,seed=2", without what a folder's name cannot have
  std::vector<std::string> overrides;  ///< "optimizer.lr=1e-3", "seed=2"
};

/// Every combination of "optimizer.lr=1e-3,3e-4", "seed=1,2" … in order, the last key fastest. Commas within
/// brackets do not divide: "context.keys=[a],[a,b]" has two values. Throws UsageError: no values, a key given
/// twice, run_dir, or elements that would share a folder. That keys and values are known is not checked here.
std::vector<SweepElement> sweep(const std::vector<std::string>& axes);

}  // namespace cohort::jobs
