#pragma once
#include <chrono>
#include <cstdint>
#include <string>

#include "cohort/core/terminal.h"

namespace cohort {

/// Shows how far work on many images has come: every half second in one line of a terminal, else as a line of
/// the log every ten seconds. Work that takes less time shows nothing. One rank calls it, which speaks for
/// all.
class CountProgress {
 public:
  /// `what` opens the line: "writing". `images`: of all `ranks`.
  CountProgress(std::string what, std::int64_t images, int ranks);
  ~CountProgress();
  CountProgress(const CountProgress&) = delete;
  CountProgress& operator=(const CountProgress&) = delete;

  /// This rank has done `done` of its own `all`.
  void show(std::int64_t done, std::int64_t all);
  /// "writing: 45 %  2,250 of 5,000 images  1,125 images/s on 4 ranks  2.4 s left"; for tests.
  [[nodiscard]] PartedLine line(double share, std::chrono::duration<double> spent) const;

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_;
  std::int64_t images_;
  int ranks_;
  bool live_, drawn_ = false;
  Clock::time_point start_ = Clock::now(), last_ = start_;
};

}  // namespace cohort
