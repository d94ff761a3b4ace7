#pragma once
#include <functional>
#include <vector>

#include "cohort/comm/communicator.h"

namespace cohort::perf {

/// Seconds; each sample is the time of the slowest rank.
struct Times {
  double median = 0;
  double p99 = 0;
  std::vector<double> samples{};  ///< in the order of time

  [[nodiscard]] std::vector<double> microseconds() const;  ///< the samples
};

/// Collective. Runs prepare() and then, timed, run() until about `seconds` have passed, at least 5 and at
/// most 1000 times, the same number on every rank and after a barrier each; one more run before that is not
/// counted.
Times measure(comm::Communicator& ranks, double seconds, const std::function<void()>& prepare,
              const std::function<void()>& run);

/// Collective. The same for several that are to be compared: they take turns, so that a change of the
/// machine's load meets all of them, each as often as the slowest of them allows.
std::vector<Times> measure_in_turns(comm::Communicator& ranks, double seconds,
                                    const std::function<void()>& prepare,
                                    const std::vector<std::function<void()>>& runs);

}  // namespace cohort::perf
