#include "cohort/core/count_progress.h"

#include <cmath>
#include <cstdio>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/text.h"

namespace cohort {

CountProgress::CountProgress(std::string what, std::int64_t images, int ranks)
    : what_(std::move(what)), images_(images), ranks_(ranks), live_(::isatty(STDERR_FILENO) == 1) {}

CountProgress::~CountProgress() {
  if (drawn_) std::fputs("\r\033[K", stderr);
}

void CountProgress::show(std::int64_t done, std::int64_t all) {
  using namespace std::chrono_literals;
  const auto now = Clock::now();
  if (now - last_ < (live_ ? Clock::duration(500ms) : Clock::duration(10s))) return;
  last_ = now;
  const PartedLine now_line = line(static_cast<double>(done) / static_cast<double>(all), now - start_);
  if (!live_) return log_info(now_line);
  fmt::print(stderr, "\r{}\033[K", now_line.text(terminal_columns(STDERR_FILENO)));
  std::fflush(stderr);
  drawn_ = true;
}

PartedLine CountProgress::line(double share, std::chrono::duration<double> spent) const {
  const double done = share * static_cast<double>(images_);
  PartedLine line;
  line.add(fmt::format("{}: {:.0f} %", what_, 100 * share), 9);
  line.add(fmt::format("{} of {} images", format_count(std::llround(done)), format_count(images_)), 1);
  line.add(fmt::format("{} images/s on {} rank{}", format_count(std::llround(done / spent.count())), ranks_,
                       ranks_ == 1 ? "" : "s"),
           2);
  line.add(format_duration(spent * ((1 - share) / share)) + " left", 3);
  return line;
}

}  // namespace cohort
