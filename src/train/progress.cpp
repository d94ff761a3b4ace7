#include "train/progress.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <numeric>

#include <fmt/format.h>

#include "cohort/core/log.h"
#include "cohort/core/text.h"

namespace cohort::train {
namespace {

constexpr std::size_t kWindow = 128, kFewest = 8;
constexpr int kBarWidth = 24;

std::string z_text(const std::optional<double>& z) {
  return z ? fmt::format(" ({:+.1f}z)", *z) : "";
}

}  // namespace

std::optional<double> RecentValues::add(double value) {
  std::optional<double> z;
  if (values_.size() >= kFewest) {
    const auto count = static_cast<double>(values_.size());
    const double mean = std::accumulate(values_.begin(), values_.end(), 0.0) / count;
    const double squares = std::inner_product(values_.begin(), values_.end(), values_.begin(), 0.0) / count;
    const double deviation = std::sqrt(std::max(squares - mean * mean, 0.0));
    if (deviation > 0) z = (value - mean) / deviation;
  }
  values_.push_back(value);
  if (values_.size() > kWindow) values_.pop_front();
  return z;
}

Progress::~Progress() {
  clear();
}

void Progress::step(const StepRecord& record) {
  last_ = record;
  loss_z_ = losses_.add(record.loss);
  norm_z_ = norms_.add(record.grad_norm);
  if (seen_ == 1) since_line_ = {};
  ++seen_;
  ++since_line_.steps;
  since_line_.seconds += record.seconds;
  since_line_.data += record.data_wait * record.seconds;
  since_line_.comm += record.comm_wait * record.seconds;
  if (seen_ > 1) all_seconds_ += record.seconds;

  const bool due = record.step % options_.every_steps == 0 || record.step == options_.total_steps;
  if (options_.live) {
    fmt::print(stderr, "\r{}\033[K", bar());
    drawn_ = true;
  } else if (due) {
    log_info(line());
  }
  if (due) since_line_ = {};
}

void Progress::clear() {
  if (!drawn_) return;
  std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

std::string Progress::line() const {
  const std::int64_t steps = std::max<std::int64_t>(since_line_.steps, 1);
  const double seconds = since_line_.steps > 0 ? since_line_.seconds : last_.seconds;
  const double rate = seconds > 0 ? static_cast<double>(options_.global_images * steps) / seconds : 0.0;
  const double part = seconds > 0 ? 100 / seconds : 0.0;
  const double mean = seen_ > 1 ? all_seconds_ / static_cast<double>(seen_ - 1) : last_.seconds;
  const std::chrono::duration<double> left(mean * static_cast<double>(options_.total_steps - last_.step));
  return fmt::format(
      "step {:>5}/{}  loss {:.4f}{}  grad {:.3f}{}  lr {:.2e}  {:.0f} ms (data {:.0f}% comm {:.0f}%)  {} "
      "img/s all ranks  mem {}  {} left",
      last_.step, options_.total_steps, last_.loss, z_text(loss_z_), last_.grad_norm, z_text(norm_z_),
      last_.lr, 1000 * seconds / static_cast<double>(steps), since_line_.data * part, since_line_.comm * part,
      format_count(std::llround(rate)),
      format_bytes(static_cast<std::uint64_t>(last_.device_memory_bytes > 0 ? last_.device_memory_bytes
                                                                            : last_.memory_bytes)),
      format_duration(left));
}

std::string Progress::bar() const {
  const std::int64_t total = std::max<std::int64_t>(options_.total_steps, 1);
  const auto filled = static_cast<std::size_t>(kBarWidth * last_.step / total);
  return fmt::format("[{}{}] {}", std::string(filled, '#'), std::string(kBarWidth - filled, '-'), line());
}

}  // namespace cohort::train
