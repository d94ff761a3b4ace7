#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "cohort/comm/communicator.h"

namespace cohort::train {

/// How this rank's clock differs from that of rank 0.
struct ClockOffset {
  std::chrono::nanoseconds offset{};       ///< rank 0's time minus ours; 0 when they cannot be told apart
  std::chrono::nanoseconds uncertainty{};  ///< largest error of a measured offset
};

/// Collective. Cristian's algorithm ("Probabilistic clock synchronization", 1989), the best of some rounds.
ClockOffset measure_clock(comm::Communicator& ranks, const std::function<std::chrono::nanoseconds()>& now);

/// Records the steps `first` … `last` of a run on all ranks (core/trace.h) and writes them as one file in the
/// Trace Event Format of Chrome and Perfetto (docs/formats/run.md).
class StepTrace {
 public:
  /// `steps`: empty (nothing is ever recorded) or first and last, counted from 1. `ranks` outlives this.
  StepTrace(const std::vector<std::int64_t>& steps, std::filesystem::path file, comm::Communicator& ranks);
  StepTrace(const StepTrace&) = delete;
  StepTrace& operator=(const StepTrace&) = delete;
  ~StepTrace();

  /// Collective when `step` is traced and the one before was not: aligns the clocks of the ranks.
  void begin_step(std::int64_t step);
  /// Collective when `step` is the last one to trace: writes. Throws DataError on every rank.
  void end_step(std::int64_t step);
  /// Collective while steps are being traced, when there will be no more: writes those that there were.
  void finish();

 private:
  std::int64_t first_ = 0, last_ = 0;
  std::filesystem::path file_;
  comm::Communicator& ranks_;
  bool records_ = false;
  std::chrono::nanoseconds to_zero_{};      // from this rank's clock to time since the beginning of the trace
  std::chrono::nanoseconds uncertainty_{};  // of to_zero_, on any rank
};

}  // namespace cohort::train
