#pragma once
#include <chrono>
#include <cstdint>

namespace cohort::data_prep {

/// Shows rate and time left on stderr: every half second in one line of a terminal, else a line every ten
/// seconds.
class Progress {
 public:
  explicit Progress(int ranks);
  void show(std::int64_t done, std::int64_t all);

 private:
  using Clock = std::chrono::steady_clock;
  int ranks_;
  bool terminal_;
  Clock::time_point start_ = Clock::now(), last_ = start_;
};

}  // namespace cohort::data_prep
