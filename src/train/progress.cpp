#include "train/progress.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <unistd.h>

#include <fmt/format.h>

#include "cohort/core/log.h"
#include "cohort/core/text.h"

namespace cohort::train {
namespace {

constexpr std::size_t kWindow = 128, kFewest = 8;
constexpr int kBarWidth = 24;
constexpr double kUnusual = 3.0;  // standard deviations

std::string remark(const std::optional<double>& z) {
  if (!z || std::abs(*z) <= kUnusual) return {};
  return *z > 0 ? " (unusually high)" : " (unusually low)";
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

  const bool due =
      seen_ == 1 || record.step % options_.every_steps == 0 || record.step == options_.total_steps;
  if (options_.live) {
    fmt::print(stderr, "\r{}\033[K", bar().text(terminal_columns(STDERR_FILENO)));
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

PartedLine Progress::line() const {
  const std::int64_t steps = std::max<std::int64_t>(since_line_.steps, 1);
  const double seconds = since_line_.steps > 0 ? since_line_.seconds : last_.seconds;
  const double rate = seconds > 0 ? static_cast<double>(options_.global_images * steps) / seconds : 0.0;
  const double part = seconds > 0 ? 100 / seconds : 0.0;
  const double mean = seen_ > 1 ? all_seconds_ / static_cast<double>(seen_ - 1) : last_.seconds;
  const std::chrono::duration<double> left(mean * static_cast<double>(options_.total_steps - last_.step));
  const std::int64_t memory = last_.device_memory_bytes > 0 ? last_.device_memory_bytes : last_.memory_bytes;
  PartedLine line;
  line.add(fmt::format("step {:>5}/{}", last_.step, options_.total_steps), 9);
  line.add(fmt::format("loss {:.4f}{}", last_.loss, remark(loss_z_)), 8);
  line.add(fmt::format("grad {:.3f}{}", last_.grad_norm, remark(norm_z_)), 4);
  line.add(fmt::format("lr {:.2e}", last_.lr), 2);
  line.add(fmt::format("{:.0f} ms (data {:.0f}% comm {:.0f}%)", 1000 * seconds / static_cast<double>(steps),
                       since_line_.data * part, since_line_.comm * part),
           3);
  line.add(fmt::format("{} img/s all ranks", format_count(std::llround(rate))), 5);
  line.add("mem " + format_bytes(static_cast<std::uint64_t>(memory)), 1);
  line.add(format_duration(left) + " left", 7);
  return line;
}

PartedLine Progress::bar() const {
  const std::int64_t total = std::max<std::int64_t>(options_.total_steps, 1);
  const auto filled = static_cast<std::size_t>(kBarWidth * last_.step / total);
  PartedLine bar = line();
  bar.add_before(fmt::format("[{}{}]", std::string(filled, '#'), std::string(kBarWidth - filled, '-')), 0);
  return bar;
}

}  // namespace cohort::train
