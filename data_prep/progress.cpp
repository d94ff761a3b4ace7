#include "data_prep/progress.h"

#include <cstdio>
#include <unistd.h>

#include <fmt/format.h>

#include "cohort/core/text.h"

namespace cohort::data_prep {

Progress::Progress(int ranks) : ranks_(ranks), terminal_(::isatty(STDERR_FILENO) == 1) {}

void Progress::show(std::int64_t done, std::int64_t all) {
  using namespace std::chrono_literals;
  const auto now = Clock::now();
  const bool finished = done == all;
  if (now - last_ < (terminal_ ? Clock::duration(500ms) : Clock::duration(10s)) && !(finished && terminal_))
    return;
  last_ = now;
  const std::chrono::duration<double> spent = now - start_;
  const double rate = static_cast<double>(done) / spent.count();
  const std::chrono::duration<double> left(static_cast<double>(all - done) / rate);
  fmt::print(stderr, "{}{:3.0f} %  {} images/s on {} rank{}  {} left{}", terminal_ ? "\r\033[K" : "",
             100.0 * static_cast<double>(done) / static_cast<double>(all),
             format_count(static_cast<std::int64_t>(rate * ranks_)), ranks_, ranks_ == 1 ? "" : "s",
             format_duration(left), terminal_ && !finished ? "" : "\n");
  std::fflush(stderr);
}

}  // namespace cohort::data_prep
